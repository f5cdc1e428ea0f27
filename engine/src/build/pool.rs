//! Steps of a run on a few threads: each begins when all it needs is done.
//!
//! Which step is next is decided by [`next`], without threads; [`run`] is the rest. Steps know nothing here but their
//! place in the order in which they would run one after the other, and the outcome is that of this order: when a step
//! fails, those before it still run to their end, those behind it are stopped.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::relay::{Message, Relay, channel};
use crate::error::BuildError;
use crate::monitor::Cancel;

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waiting,
    Running,
    Done,
}

/// What a free thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Run this step.
    Run(usize),
    /// Look again when a step has ended.
    Wait,
    /// Nothing is left to begin.
    Leave,
}

/// The first step that may begin: of those before `end`, with all steps it needs done. A step needs only earlier ones.
fn next(steps: &[Step], needs: &[Vec<usize>], end: usize) -> Next {
    let mut waiting = (0..end.min(steps.len())).filter(|&step| steps[step] == Step::Waiting).peekable();
    if waiting.peek().is_none() {
        return Next::Leave;
    }
    let ready = waiting.find(|&step| needs[step].iter().all(|&need| steps[need] == Step::Done));
    ready.map_or(Next::Wait, Next::Run)
}

/// What the threads share.
struct Board {
    steps: Vec<Step>,
    /// Steps from here on are not begun: the first that failed.
    end: usize,
    relays: Vec<Option<Relay>>,
    /// One a step, raised when an earlier one has failed.
    cancels: Vec<Cancel>,
    errors: Vec<Option<BuildError>>,
}

/// Runs steps, `limit` at a time at most: `work(step, relay, cancel)` says whether it went well. `listen(step, messages)`
/// is called on the caller's thread for one step after the other, from the first to the one that failed.
///
/// # Errors
/// That of the first step that had one.
pub(super) fn run(
    needs: &[Vec<usize>],
    limit: usize,
    cancel: &Cancel,
    work: &(dyn Fn(usize, &mut Relay, &Cancel) -> Result<bool, BuildError> + Sync),
    listen: &mut dyn FnMut(usize, Receiver<Message>),
) -> Result<(), BuildError> {
    let count = needs.len();
    let (relays, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
    let board = Mutex::new(Board {
        steps: vec![Step::Waiting; count],
        end: count,
        relays: relays.into_iter().map(Some).collect(),
        cancels: (0..count).map(|_| cancel.child()).collect(),
        errors: (0..count).map(|_| None).collect(),
    });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..limit.clamp(1, count.max(1)) {
            scope.spawn(|| thread(needs, &board, &changed, work));
        }
        for (step, receiver) in receivers.into_iter().enumerate() {
            listen(step, receiver);
            let board = lock(&board);
            // Its channel is closed, so it has ended or will not begin.
            if board.end <= step {
                break;
            }
        }
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Behind the first failure there are only steps that were stopped for it.
    board.errors.into_iter().take(board.end + 1).flatten().next().map_or(Ok(()), Err)
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread(
    needs: &[Vec<usize>],
    board: &Mutex<Board>,
    changed: &Condvar,
    work: &(dyn Fn(usize, &mut Relay, &Cancel) -> Result<bool, BuildError> + Sync),
) {
    let mut held = lock(board);
    loop {
        match next(&held.steps, needs, held.end) {
            Next::Leave => return,
            Next::Wait => held = changed.wait(held).unwrap_or_else(PoisonError::into_inner),
            Next::Run(step) => {
                held.steps[step] = Step::Running;
                let cancel = held.cancels[step].clone();
                let Some(mut relay) = held.relays[step].take() else { continue };
                drop(held);
                // A bug in one thread must not leave the others waiting for it.
                let outcome = catch_unwind(AssertUnwindSafe(|| work(step, &mut relay, &cancel)));
                held = lock(board);
                match outcome {
                    Ok(outcome) => held.ended(step, outcome),
                    Err(panic) => {
                        held.stop_from(0);
                        drop(held);
                        changed.notify_all();
                        resume_unwind(panic);
                    }
                }
                // Only now: its listener looks at the board as soon as the channel is closed.
                drop(relay);
                changed.notify_all();
            }
        }
    }
}

impl Board {
    fn ended(&mut self, step: usize, outcome: Result<bool, BuildError>) {
        self.steps[step] = Step::Done;
        match outcome {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => self.errors[step] = Some(error),
        }
        if step < self.end {
            self.stop_from(step);
        }
    }

    /// Begins no step from this one on, and stops those behind it that run.
    fn stop_from(&mut self, step: usize) {
        self.end = step;
        // What was not begun will not be: whoever listens to it hears the end.
        self.relays.iter_mut().skip(step).for_each(|relay| *relay = None);
        self.cancels.iter().skip(step + 1).for_each(Cancel::cancel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// Runs steps that all go well but `bad`; returns which were listened to, with their number of messages.
    fn heard(needs: &[Vec<usize>], limit: usize, bad: Option<usize>) -> (Vec<(usize, usize)>, usize) {
        let (most, now) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut heard = Vec::new();
        let work = |step: usize, relay: &mut Relay, _: &Cancel| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // More than a channel holds, so that it has to wait for its turn.
            (0..100).for_each(|_| relay.send(Message::Started));
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(bad != Some(step))
        };
        run(needs, limit, &Cancel::default(), &work, &mut |step, messages| heard.push((step, messages.iter().count())))
            .unwrap();
        (heard, most.into_inner())
    }

    #[test]
    fn a_step_waits_for_what_it_needs() {
        let needs = [vec![], vec![0], vec![]];
        let (waiting, running, done) = (Step::Waiting, Step::Running, Step::Done);
        assert_eq!(next(&[waiting, waiting, waiting], &needs, 3), Next::Run(0));
        assert_eq!(next(&[running, waiting, waiting], &needs, 3), Next::Run(2));
        assert_eq!(next(&[running, waiting, running], &needs, 3), Next::Wait);
        assert_eq!(next(&[done, waiting, running], &needs, 3), Next::Run(1));
        assert_eq!(next(&[running, waiting, waiting], &needs, 1), Next::Leave);
        assert_eq!(next(&[done, done, done], &needs, 3), Next::Leave);
    }

    #[test]
    fn an_error_is_that_of_the_first_step_that_has_one() {
        let work = |step: usize, _: &mut Relay, _: &Cancel| match step {
            0 => Ok(true),
            step => Err(BuildError::MissingTree { id: step.to_string() }),
        };
        let result = run(&[vec![], vec![], vec![]], 3, &Cancel::default(), &work, &mut |_, messages| {
            messages.iter().for_each(drop);
        });
        assert!(matches!(result, Err(BuildError::MissingTree { id }) if id == "1"));
    }

    #[test]
    fn what_is_behind_a_failure_is_stopped() {
        let work = |step: usize, _: &mut Relay, cancel: &Cancel| {
            if step == 0 {
                return Ok(false);
            }
            while !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            Err(BuildError::Cancelled)
        };
        let mut listened = Vec::new();
        let result = run(&[vec![], vec![]], 2, &Cancel::default(), &work, &mut |step, messages| {
            messages.iter().for_each(drop);
            listened.push(step);
        });
        assert_eq!(listened, [0]);
        // The first step failed without an error of the engine; the second one's is no news.
        assert!(result.is_ok_and(|()| true));
    }

    proptest! {
        #[test]
        fn every_step_is_heard_in_order_up_to_the_failure(
            graph in proptest::collection::vec(proptest::collection::vec(0_usize..12, 0..4), 1..12),
            limit in 1_usize..5,
            bad in proptest::option::of(0_usize..12),
        ) {
            let needs: Vec<Vec<usize>> = graph
                .into_iter()
                .enumerate()
                .map(|(step, needs)| needs.into_iter().filter(|need| *need < step).collect())
                .collect();
            let bad = bad.filter(|bad| *bad < needs.len());
            let (heard, most) = heard(&needs, limit, bad);
            let end = bad.map_or(needs.len(), |bad| bad + 1);
            prop_assert_eq!(heard, (0..end).map(|step| (step, 100)).collect::<Vec<_>>());
            prop_assert!(most <= limit);
        }
    }
}
