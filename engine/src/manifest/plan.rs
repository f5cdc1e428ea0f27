//! Which pipelines and checkpoints a run is about: pure decisions over a loaded manifest.

use std::collections::HashSet;

use super::{Checkpoints, Id, Manifest, Origin, Pipeline, Stage};

impl Manifest {
    /// The pipeline of a name.
    #[must_use]
    pub fn pipeline(&self, name: &str) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// The pipeline of an identifier; of several the last, as its runner is the one that counts.
    #[must_use]
    pub fn pipeline_by_id(&self, id: &str) -> Option<&Pipeline> {
        self.pipelines.iter().rev().find(|pipeline| pipeline.id.as_ref().is_some_and(|own| own.as_str() == id))
    }

    /// What an `--export` means: a pipeline's name, or its identifier. A name wins.
    #[must_use]
    pub fn resolve_export(&self, export: &str) -> Option<&Pipeline> {
        self.pipeline(export).or_else(|| self.pipeline_by_id(export))
    }

    /// The pipelines whose trees these stages take as inputs, in the order of the inputs.
    pub fn input_pipelines<'a>(&'a self, stage: &'a Stage) -> impl Iterator<Item = &'a Pipeline> + 'a {
        let inputs = stage.inputs.iter().filter(|input| input.origin == Origin::Pipeline);
        inputs.flat_map(|input| input.refs.keys()).filter_map(|id| self.pipeline_by_id(id.as_str()?))
    }

    /// The pipelines to build for these targets, each after all it needs. What the store has is left out, and so is
    /// what only it would have needed; pipelines with one identifier are built once.
    #[must_use]
    pub fn to_build<'a>(
        &'a self,
        targets: &[&'a Pipeline],
        mut in_store: impl FnMut(&Id) -> bool,
    ) -> Vec<&'a Pipeline> {
        let mut stack = targets.to_vec();
        // Dependants first; what turns up again is needed earlier than was thought.
        let mut found: Vec<&Pipeline> = Vec::new();
        while let Some(pipeline) = stack.pop() {
            let Some(id) = pipeline.id.as_ref().filter(|id| !in_store(id)) else { continue };
            found.retain(|other| other.id.as_ref() != Some(id));
            found.push(pipeline);
            stack.extend(pipeline.build.as_ref().and_then(|build| self.pipeline_by_id(build.as_str())));
            for stage in pipeline.stages.iter().rev().take_while(|stage| !in_store(&stage.id)) {
                stack.extend(self.input_pipelines(stage));
            }
        }
        found.reverse();
        found
    }

    /// The stages that `--checkpoint` patterns match: by a pipeline's name (its last stage), a stage's identifier or a
    /// stage's name.
    #[must_use]
    pub fn checkpoints<S: AsRef<str>>(&self, patterns: &[S]) -> Checkpoints {
        let matched = |text: &str| patterns.iter().any(|pattern| glob_matches(pattern.as_ref(), text));
        let mut found = Checkpoints::new();
        for pipeline in &self.pipelines {
            if matched(&pipeline.name) {
                found.extend(pipeline.id.clone());
            }
            let stages = pipeline.stages.iter().filter(|stage| matched(stage.id.as_str()) || matched(&stage.name));
            found.extend(stages.map(|stage| stage.id.clone()));
        }
        found
    }

    /// All identifiers of stages, in manifest order, each once.
    #[must_use]
    pub fn stage_ids(&self) -> Vec<&Id> {
        let mut seen = HashSet::new();
        let stages = self.pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        stages.map(|stage| &stage.id).filter(|id| seen.insert(*id)).collect()
    }
}

/// Shell-style matching of a whole text as Python's `fnmatchcase` does it: `*`, `?`, `[set]`, `[!set]`; there is no
/// escape, nothing is special about `/` or a leading dot, and a bracket without an end stands for itself.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on if the last star has to take one character more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match (pattern.get(p), text.get(t)) {
            (Some(_), Some(character)) => match_one(&pattern[p..], *character),
            _ => None,
        };
        if let Some(length) = step {
            p += length;
            t += 1;
            continue;
        }
        match retry {
            Some((after, from)) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the first element of a pattern, if it matches the character.
fn match_one(pattern: &[char], character: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '[' => {
            let negated = pattern.get(1) == Some(&'!');
            let start = if negated { 2 } else { 1 };
            // A bracket right at the start is a member.
            let skip = start + usize::from(pattern.get(start) == Some(&']'));
            let Some(end) = pattern.get(skip..).and_then(|rest| rest.iter().position(|c| *c == ']')) else {
                return (character == '[').then_some(1);
            };
            let set = &pattern[start..skip + end];
            (in_set(set, character) != negated).then_some(skip + end + 1)
        }
        literal => (literal == character).then_some(1),
    }
}

fn in_set(set: &[char], character: char) -> bool {
    let mut at = 0;
    while let Some(&low) = set.get(at) {
        match (set.get(at + 1), set.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                if (low..=high).contains(&character) {
                    return true;
                }
                at += 3;
            }
            _ => {
                if low == character {
                    return true;
                }
                at += 1;
            }
        }
    }
    false
}
