//! In which order packages are installed: the plan of waves.
//!
//! dpkg refuses to unpack a package whose Pre-Depends are not configured yet, and it configures a package only after
//! its Depends. So a set is split into waves; in each wave everything is unpacked and then everything is configured,
//! and a later wave may rely on the earlier ones. This module only plans; it reads and runs nothing.
//!
//! Versions are not looked at: the set was resolved by apt, and dpkg checks them again.

use std::collections::{BTreeMap, BTreeSet};

use crate::stage::debian::deb::Fields;

/// What the planner knows of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// `Package`
    pub(crate) name: String,
    /// `Version`
    pub(crate) version: String,
    /// `Architecture`
    pub(crate) architecture: String,
    /// `Essential: yes`
    pub(crate) essential: bool,
    /// Names it can stand for: its own and its `Provides`.
    provides: Vec<String>,
    /// Clauses of `Pre-Depends`, each a list of alternatives.
    pre_depends: Vec<Vec<String>>,
    /// Clauses of `Depends`.
    depends: Vec<Vec<String>>,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wave {
    /// Indices into the candidates, ordered by name.
    pub(crate) packages: Vec<usize>,
    /// dpkg must be told to ignore dependencies: the essential set, and cycles through Pre-Depends.
    pub(crate) force_depends: bool,
}

impl Candidate {
    /// Takes what the planner needs from a control paragraph.
    ///
    /// # Errors
    /// Names the field that is missing or is not a package name, version or architecture.
    pub(crate) fn from_fields(fields: &Fields) -> Result<Self, String> {
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        let name = get("package");
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~".contains(&b))
                && text.as_bytes()[0].is_ascii_alphanumeric()
        };
        for field in ["package", "version", "architecture"] {
            if !word(get(field)) {
                return Err(format!("control field {field:?} is {:?}", get(field)));
            }
        }
        let mut provides = vec![name.to_owned()];
        provides.extend(relations(get("provides")).into_iter().flatten());
        Ok(Self {
            name: name.to_owned(),
            version: get("version").to_owned(),
            architecture: get("architecture").to_owned(),
            essential: get("essential").eq_ignore_ascii_case("yes"),
            provides,
            pre_depends: relations(get("pre-depends")),
            depends: relations(get("depends")),
        })
    }
}

/// Package names of a relationship field: clauses of alternatives, without versions, architectures and profiles.
fn relations(field: &str) -> Vec<Vec<String>> {
    field
        .split(',')
        .map(|clause| {
            clause
                .split('|')
                .filter_map(|alternative| {
                    let name = alternative.trim().split([' ', '(', ':', '[', '<', '\n', '\t']).next()?;
                    (!name.is_empty()).then(|| name.to_owned())
                })
                .collect::<Vec<_>>()
        })
        .filter(|clause| !clause.is_empty())
        .collect()
}

/// The dependency graph of a set. A clause points at every package of the set that could satisfy it; that is more than
/// needed, and so is safe whichever of them does.
struct Graph {
    pre: Vec<BTreeSet<usize>>,
    all: Vec<BTreeSet<usize>>,
}

impl Graph {
    fn new(set: &[Candidate]) -> Self {
        let mut providers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, package) in set.iter().enumerate() {
            for name in &package.provides {
                providers.entry(name).or_default().push(index);
            }
        }
        let targets = |clauses: &[Vec<String>], own: usize| -> BTreeSet<usize> {
            clauses
                .iter()
                .flatten()
                .filter_map(|name| providers.get(name.as_str()))
                .flatten()
                .copied()
                .filter(|target| *target != own)
                .collect()
        };
        let pre: Vec<_> = set.iter().enumerate().map(|(i, p)| targets(&p.pre_depends, i)).collect();
        let all =
            set.iter().enumerate().map(|(i, p)| pre[i].union(&targets(&p.depends, i)).copied().collect()).collect();
        Self { pre, all }
    }

    /// Everything reachable from `start` over Depends and Pre-Depends.
    fn closure(&self, start: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut stack: Vec<usize> = start.into_iter().collect();
        while let Some(index) = stack.pop() {
            if seen.insert(index) {
                stack.extend(&self.all[index]);
            }
        }
        seen
    }
}

/// The essential packages of the set with all they depend on, by index: what must be extracted before dpkg can run.
pub(crate) fn essential_closure(set: &[Candidate]) -> BTreeSet<usize> {
    let essential = set.iter().enumerate().filter(|(_, p)| p.essential).map(|(i, _)| i);
    Graph::new(set).closure(essential)
}

/// Plans the waves. With `bootstrap` (a tree without dpkg) the essential closure is the first, by force.
pub(crate) fn plan(set: &[Candidate], bootstrap: bool) -> Vec<Wave> {
    let mut planner = Planner { graph: Graph::new(set), set, done: BTreeSet::new(), waves: Vec::new() };
    if bootstrap {
        planner.push(essential_closure(set), true);
    }
    planner.plan((0..set.len()).collect());
    planner.waves
}

struct Planner<'a> {
    graph: Graph,
    set: &'a [Candidate],
    done: BTreeSet<usize>,
    waves: Vec<Wave>,
}

impl Planner<'_> {
    fn push(&mut self, packages: BTreeSet<usize>, force_depends: bool) {
        if packages.is_empty() {
            return;
        }
        let mut order: Vec<usize> = packages.iter().copied().collect();
        order.sort_by_key(|i| (&self.set[*i].name, &self.set[*i].architecture));
        self.done.extend(packages);
        self.waves.push(Wave { packages: order, force_depends });
    }

    /// Plans `wanted` so that every Pre-Depends is in an earlier wave. Each round either makes a wave of all that is
    /// left or plans a strictly smaller set first, so it ends.
    fn plan(&mut self, mut wanted: BTreeSet<usize>) {
        loop {
            wanted.retain(|index| !self.done.contains(index));
            let pending: BTreeSet<usize> = wanted
                .iter()
                .flat_map(|index| &self.graph.pre[*index])
                .copied()
                .filter(|target| !self.done.contains(target))
                .collect();
            if pending.is_empty() {
                return self.push(wanted, false);
            }
            let mut first = self.graph.closure(pending);
            first.retain(|index| !self.done.contains(index));
            if first.len() >= wanted.len() {
                return self.push(wanted, true);
            }
            self.plan(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stage::debian::deb::paragraph;

    fn set(texts: &[&str]) -> Vec<Candidate> {
        texts
            .iter()
            .map(|text| {
                let text = format!("Version: 1\nArchitecture: amd64\n{text}");
                Candidate::from_fields(&paragraph(&text)).expect("candidate")
            })
            .collect()
    }

    fn names(set: &[Candidate], waves: &[Wave]) -> Vec<String> {
        waves
            .iter()
            .map(|wave| {
                let list: Vec<_> = wave.packages.iter().map(|i| set[*i].name.as_str()).collect();
                format!("{}{}", list.join(" "), if wave.force_depends { " !" } else { "" })
            })
            .collect()
    }

    #[test]
    fn relations_drop_versions_and_architectures() {
        assert_eq!(
            relations("libc6 (>= 2.38), awk:any | mawk [amd64],, x <!nocheck>"),
            [vec!["libc6"], vec!["awk", "mawk"], vec!["x"]]
        );
    }

    #[test]
    fn the_order_of_a_small_debian() {
        let set = set(&[
            "Package: systemd-sysv\nPre-Depends: systemd",
            "Package: systemd\nPre-Depends: libc6, libsystemd-shared (= 1)\nDepends: mount",
            "Package: libsystemd-shared\nDepends: libc6",
            "Package: mount\nDepends: libmount1",
            "Package: libmount1",
            "Package: base-files\nEssential: yes\nPre-Depends: awk",
            "Package: mawk\nProvides: awk\nPre-Depends: libc6",
            "Package: libc6",
            "Package: zz",
        ]);
        assert_eq!(
            names(&set, &plan(&set, true)),
            ["base-files libc6 mawk !", "libsystemd-shared", "libmount1 mount systemd", "systemd-sysv zz"]
        );
    }

    #[test]
    fn a_cycle_through_pre_depends_is_forced() {
        let set = set(&["Package: a\nPre-Depends: b", "Package: b\nDepends: a", "Package: c"]);
        assert_eq!(names(&set, &plan(&set, false)), ["a b !", "c"]);
    }

    #[test]
    fn names_that_could_be_options_are_refused() {
        let fields = paragraph("Package: --foo\nVersion: 1\nArchitecture: all\n");
        assert!(Candidate::from_fields(&fields).expect_err("refused").contains("package"));
    }

    proptest! {
        #[test]
        fn every_package_once_and_pre_depends_first(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12, any::<bool>()), 0..40),
            essential in 0_usize..12,
        ) {
            let mut texts = Vec::new();
            for i in 0..12 {
                let list = |pre: bool| edges.iter().filter(|e| e.0 == i && e.2 == pre)
                    .map(|e| format!("p{}", e.1)).collect::<Vec<_>>().join(", ");
                texts.push(format!(
                    "Package: p{i}\nEssential: {}\nPre-Depends: {}\nDepends: {}",
                    if i == essential { "yes" } else { "no" }, list(true), list(false)
                ));
            }
            let set = set(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let graph = Graph::new(&set);
            let mut done = BTreeSet::new();
            for wave in plan(&set, true) {
                for index in &wave.packages {
                    prop_assert!(wave.force_depends || graph.pre[*index].is_subset(&done));
                }
                for index in wave.packages {
                    prop_assert!(done.insert(index));
                }
            }
            prop_assert_eq!(done.len(), set.len());
        }
    }
}
