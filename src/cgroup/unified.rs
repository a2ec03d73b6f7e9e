// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.unified`: v2 files by name, written as they are, after everything else.

use super::writes::Writes;
use crate::bail;
use crate::error::Result;
use crate::oci::Map;

pub(crate) fn v1(unified: &Map<'_>) -> Result<Writes> {
    if unified.is_empty() {
        return Ok(Writes::default());
    }
    bail!("linux.resources.unified: invalid configuration: cannot use unified on cgroup v1")
}

pub(crate) fn v2(unified: &Map<'_>) -> Result<Writes> {
    let mut w = Writes::default();
    for (file, value) in unified {
        if file.contains('/') {
            bail!(
                "linux.resources.unified: resource {:?} must be a file name (no slashes)",
                file.as_str()
            );
        }
        if !file.contains('.') {
            bail!(
                "linux.resources.unified: resource {:?} must be in the form CONTROLLER.PARAMETER",
                file.as_str()
            );
        }
        w.push(format!("linux.resources.unified[{file}]"), file.to_string(), value);
    }
    Ok(w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(file: &'static str) -> Map<'static> {
        Map::from([(file.into(), "max".into())])
    }

    #[test]
    fn as_they_are() {
        assert_eq!(v2(&map("memory.high")).unwrap().pairs(), [("memory.high", "max")]);
    }

    #[test]
    fn not_a_file_of_the_cgroup() {
        let refused = |name| v2(&map(name)).unwrap_err().to_string();
        assert_eq!(
            refused("../x.y"),
            r#"linux.resources.unified: resource "../x.y" must be a file name (no slashes)"#
        );
        assert!(refused("memory").ends_with("in the form CONTROLLER.PARAMETER"));
        assert!(v1(&map("memory.high")).is_err());
        assert!(v1(&Map::new()).unwrap().is_empty());
    }
}
