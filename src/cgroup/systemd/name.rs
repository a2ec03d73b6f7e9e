// SPDX-License-Identifier: Apache-2.0
//! `linux.cgroupsPath` with `--systemd-cgroup`: `slice:prefix:name`, as a unit and the cgroup that
//! systemd makes for it.

use crate::bail;
use crate::error::{Context, Result};

const PROPERTY: &str = "linux.cgroupsPath";
const SLICE: &str = ".slice";

/// As runc calls them: whoever looks for a container's scope finds it.
const PREFIX: &str = "runc";

/// systemd's own limit, with the NUL that C has.
const LONGEST: usize = 255;

/// A unit to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub unit: String,
    /// The slice that the unit is in.
    pub parent: String,
    /// The unit's cgroup below the manager's; no slash at either end.
    pub dir: String,
    /// The last part of the three, for people.
    pub short: String,
}

impl Name {
    pub(crate) fn plan(cgroups_path: &str, id: &str, is_user: bool) -> Result<Self> {
        let parts: Vec<&str> = match cgroups_path {
            "" => vec!["", PREFIX, id],
            path => path.split(':').collect(),
        };
        let [parent, prefix, short] = parts[..] else {
            bail!(
                "{PROPERTY}: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {cgroups_path:?} instead"
            );
        };
        let parent = match (parent, is_user) {
            ("", false) => "system.slice",
            ("", true) => "user.slice",
            (parent, _) => parent,
        };
        let above = expand(parent).context(|| PROPERTY)?;
        let is_slice = short.ends_with(SLICE);
        let unit = if is_slice { short.to_owned() } else { format!("{prefix}-{short}.scope") };
        check(&unit)?;
        let dir = match (is_slice, &*above) {
            (true, _) => expand(&unit).context(|| PROPERTY)?,
            (false, "") => unit.clone(),
            (false, above) => format!("{above}/{unit}"),
        };
        if dir.is_empty() {
            bail!("{PROPERTY}: {unit} is the root cgroup");
        }
        Ok(Self { unit, parent: parent.to_owned(), dir, short: short.to_owned() })
    }

    pub(crate) fn is_slice(&self) -> bool {
        is_slice(&self.unit)
    }
}

pub(crate) fn is_slice(unit: &str) -> bool {
    unit.ends_with(SLICE)
}

/// systemd would refuse it too, but only when it is asked; and a name of those characters can't break
/// out of a path or a match rule.
fn check(unit: &str) -> Result<()> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    if unit.len() > LONGEST || !unit.bytes().all(is_allowed) {
        bail!("{PROPERTY}: {unit:?} is not a valid unit name");
    }
    Ok(())
}

/// A dash in a slice's name stands for a slice inside another: `a-b.slice` is `a.slice/a-b.slice`.
/// `-.slice` is the root.
fn expand(slice: &str) -> Result<String> {
    let name = match slice.strip_suffix(SLICE) {
        Some("-") => return Ok(String::new()),
        Some(name) if !slice.contains('/') && !name.split('-').any(str::is_empty) => name,
        _ => bail!("invalid slice name: {slice}"),
    };
    check(slice)?;
    let ends = name.match_indices('-').map(|(end, _)| end).chain([name.len()]);
    let parts: Vec<String> = ends.map(|end| format!("{}{SLICE}", &name[..end])).collect();
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: &str) -> Result<Name> {
        Name::plan(path, "c1", false)
    }

    fn error(path: &str) -> String {
        plan(path).unwrap_err().to_string()
    }

    #[test]
    fn scopes() {
        let name = plan("machine.slice:libpod:abc").unwrap();
        assert_eq!((&*name.unit, &*name.parent), ("libpod-abc.scope", "machine.slice"));
        assert_eq!(name.dir, "machine.slice/libpod-abc.scope");
        assert!(!name.is_slice());
        let name = plan("kubepods-besteffort-podx.slice:cri-containerd:abc").unwrap();
        assert_eq!(
            name.dir,
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podx.slice/cri-containerd-abc.scope"
        );
        assert_eq!(plan("-.slice:a:b").unwrap().dir, "a-b.scope");
    }

    #[test]
    fn defaults() {
        let name = plan("").unwrap();
        assert_eq!((&*name.unit, &*name.parent), ("runc-c1.scope", "system.slice"));
        assert_eq!(plan(":docker:x").unwrap().dir, "system.slice/docker-x.scope");
        assert_eq!(plan("system.slice::x").unwrap().unit, "-x.scope");
        let name = Name::plan("", "c1", true).unwrap();
        assert_eq!((&*name.parent, &*name.dir), ("user.slice", "user.slice/runc-c1.scope"));
    }

    #[test]
    fn a_slice_is_where_its_name_says() {
        let name = plan("a.slice:ignored:a-b.slice").unwrap();
        assert_eq!((&*name.unit, &*name.parent), ("a-b.slice", "a.slice"));
        assert_eq!(name.dir, "a.slice/a-b.slice");
        assert!(name.is_slice());
        assert_eq!(error("a.slice:p:-.slice"), "linux.cgroupsPath: -.slice is the root cgroup");
    }

    #[test]
    fn wrong_forms() {
        assert_eq!(
            error("/docker/abc"),
            r#"linux.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/docker/abc" instead"#
        );
        for slice in ["a", "a/b.slice", "-a.slice", "a--b.slice", ".slice", "a-.slice"] {
            let want = format!("linux.cgroupsPath: invalid slice name: {slice}");
            assert_eq!(error(&format!("{slice}:p:n")), want);
        }
    }

    #[test]
    fn a_name_that_systemd_would_refuse() {
        let want = |unit| format!("linux.cgroupsPath: {unit:?} is not a valid unit name");
        assert_eq!(error("s.slice:p:../x"), want("p-../x.scope"));
        assert_eq!(error("s.slice:p:a'b"), want("p-a'b.scope"));
        assert_eq!(
            error("s'.slice:p:a"),
            want("s'.slice").replacen(": ", ": linux.cgroupsPath: ", 1)
        );
        assert!(error(&format!("s.slice:p:{}", "x".repeat(256))).ends_with("valid unit name"));
    }
}
