// SPDX-License-Identifier: Apache-2.0
//! `linux.cgroupsPath`: cleaned by text, so that `..` never leads above the place it starts from.

/// Where a container's cgroup is, seen from the top of a hierarchy or from the caller's own cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inner {
    /// Below the hierarchy's mount point; no slash at either end.
    Absolute(String),
    /// Below the caller's cgroup (v2: beside it); no slash at either end.
    Relative(String),
}

impl Inner {
    /// Without a path the id is the name.
    pub(crate) fn plan(cgroups_path: &str, id: &str) -> Self {
        match cgroups_path {
            "" => Self::Relative(clean(id)),
            path if path.starts_with('/') => Self::Absolute(clean(path)),
            path => Self::Relative(clean(path)),
        }
    }
}

/// Folds `.`, `..` and doubled slashes; what would leave the top stays at the top.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `base` and a cleaned path below it; None when `sub` leads out of it.
pub(crate) fn inside(base: &str, sub: &str) -> Option<String> {
    let mut depth = 0_usize;
    for part in sub.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1)?,
            _ => depth += 1,
        }
    }
    Some(join(base, &clean(sub)))
}

/// Both without a slash between them being doubled; an empty part adds nothing.
pub(crate) fn join(base: &str, below: &str) -> String {
    let base = base.trim_end_matches('/');
    let below = below.trim_matches('/');
    if below.is_empty() { base.to_owned() } else { format!("{base}/{below}") }
}

/// The path of `to` seen from `from`, both absolute; None when it is not below.
pub(crate) fn relative<'a>(from: &str, to: &'a str) -> Option<&'a str> {
    let rest = to.strip_prefix(from.trim_end_matches('/'))?;
    if rest.is_empty() || rest.starts_with('/') { Some(rest.trim_matches('/')) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_path_in_its_forms() {
        let is = |path| Inner::plan(path, "c1");
        assert_eq!(is(""), Inner::Relative("c1".into()));
        assert_eq!(is("/docker/abc"), Inner::Absolute("docker/abc".into()));
        assert_eq!(is("a/b/"), Inner::Relative("a/b".into()));
        assert_eq!(is("/../../etc//./x"), Inner::Absolute("etc/x".into()));
        assert_eq!(is("../../../x"), Inner::Relative("x".into()));
        assert_eq!(is("/"), Inner::Absolute(String::new()));
    }

    #[test]
    fn inside_keeps_below_the_base() {
        assert_eq!(inside("/cg/x", "a/../b").as_deref(), Some("/cg/x/b"));
        assert_eq!(inside("/cg/x", "").as_deref(), Some("/cg/x"));
        assert_eq!(inside("/cg/x", "/").as_deref(), Some("/cg/x"));
        assert_eq!(inside("/cg/x", "../xy"), None);
        assert_eq!(inside("/cg/x", "a/../../x"), None);
    }

    #[test]
    fn relative_goes_by_whole_names() {
        assert_eq!(relative("/docker/a", "/docker/a/b"), Some("b"));
        assert_eq!(relative("/docker/a", "/docker/ab"), None);
        assert_eq!(relative("/", "/x"), Some("x"));
        assert_eq!(relative("/a", "/a"), Some(""));
    }

    const ANY: &str = "[a/.]{0,12}|(/?(\\.\\.|\\.|[a-z]{1,3}|))*/?|\\PC*";

    fn is_plain(path: &str) -> bool {
        path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | ".."))
    }

    proptest::proptest! {
        /// No dots and no empty parts are left, and so nothing to clean; it is below where it begins.
        #[test]
        fn cleaned_once_is_clean(path in ANY) {
            let once = clean(&path);
            proptest::prop_assert!(is_plain(&once), "{:?}", once);
            proptest::prop_assert_eq!(&clean(&once), &once);
            let whole = join("/top", &once);
            proptest::prop_assert_eq!(relative("/top", &whole), Some(&*once));
            let (Inner::Absolute(inner) | Inner::Relative(inner)) = Inner::plan(&path, "c1");
            proptest::prop_assert_eq!(inner, if path.is_empty() { "c1" } else { &once });
        }

        /// What the kernel would make of it is the same place, or it is refused.
        #[test]
        fn inside_is_where_the_words_lead(path in ANY) {
            // As one walks: None once it was above.
            let mut place = Some(Vec::new());
            for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
                let Some(walked) = &mut place else { break };
                match part {
                    ".." if walked.pop().is_none() => place = None,
                    ".." => {}
                    part => walked.push(part),
                }
            }
            let want = place.map(|walked| join("/base", &walked.join("/")));
            proptest::prop_assert_eq!(inside("/base", &path), want);
        }
    }
}
