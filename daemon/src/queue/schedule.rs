//! Which job starts next: a pure decision over the active jobs.

use forge_dbus::JobState;

use super::job::Job;

/// The ids of the jobs to start now, in order, so that at most `limit` run at the same time. Higher priority first, then
/// the older job; jobs that wait for something are left alone.
pub(crate) fn to_start<'a>(active: impl Iterator<Item = &'a Job>, limit: u32) -> Vec<u64> {
    let mut running: u32 = 0;
    let mut queued = Vec::new();
    for job in active {
        if job.state.has_worker() {
            running += 1;
        } else if job.state == JobState::Queued {
            queued.push((std::cmp::Reverse(job.spec.priority), job.spec.id));
        }
    }
    let free = limit.saturating_sub(running) as usize;
    if free == 0 {
        return Vec::new();
    }
    queued.sort_unstable();
    queued.into_iter().take(free).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::job;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn priority_then_age() {
        let mut jobs = [job(3), job(1), job(2)];
        jobs[2].spec.priority = 5;
        assert_eq!(to_start(jobs.iter(), 1), [2]);
        assert_eq!(to_start(jobs.iter(), 3), [2, 1, 3]);
        jobs[2].started(1).unwrap();
        assert_eq!(to_start(jobs.iter(), 1), [0u64; 0]);
        assert_eq!(to_start(jobs.iter(), 2), [1]);
        jobs[2].cancel_requested(2).unwrap();
        assert_eq!(to_start(jobs.iter(), 1), [0u64; 0], "a cancelling job still has its worker");
    }

    proptest! {
        #[test]
        fn never_too_many_and_never_idle(priorities in proptest::collection::vec(-3i32..4, 0..30), running in 0usize..10, limit in 1u32..6) {
            let mut jobs: Vec<Job> = (1u64..).zip(&priorities).map(|(id, p)| { let mut j = job(id); j.spec.priority = *p; j }).collect();
            for job in jobs.iter_mut().take(running) { job.started(1).unwrap(); }
            let busy = jobs.iter().filter(|j| j.state.has_worker()).count();
            let chosen = to_start(jobs.iter(), limit);
            let waiting = jobs.len() - busy;
            prop_assert_eq!(chosen.len(), waiting.min((limit as usize).saturating_sub(busy)));
            let chosen_least = jobs.iter().filter(|j| chosen.contains(&j.spec.id)).map(|j| j.spec.priority).min();
            let left_most = jobs.iter().filter(|j| !j.state.has_worker() && !chosen.contains(&j.spec.id)).map(|j| j.spec.priority).max();
            if let (Some(least), Some(most)) = (chosen_least, left_most) { prop_assert!(least >= most); }
        }
    }
}
