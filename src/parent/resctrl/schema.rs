// SPDX-License-Identifier: Apache-2.0
//! Lines of a resctrl `schemata` file: `L3:0=ff;1=c0`, `MB:0=20;1=70`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{L3, Line, MB, SCHEMATA, has};
use crate::bail;
use crate::error::Result;
use crate::oci::IntelRdt;

/// The lines in the order in which they are written.
pub(super) fn plan(root: &Path, rdt: &IntelRdt<'_>) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if !rdt.l3_cache_schema.is_empty() {
        if !has(root, "L3") && !has(root, "L3CODE") {
            bail!("{L3}: this machine cannot share out its L3 cache (Intel RDT/CAT)");
        }
        lines.push(line(L3, &rdt.l3_cache_schema)?);
    }
    if !rdt.mem_bw_schema.is_empty() {
        if !has(root, "MB") {
            bail!("{MB}: this machine cannot share out memory bandwidth (Intel RDT/MBA)");
        }
        if !rdt.mem_bw_schema.starts_with("MB:") {
            bail!("{MB}: {:?} must start with MB:", rdt.mem_bw_schema.as_str());
        }
        lines.push(line(MB, &rdt.mem_bw_schema)?);
    }
    for text in rdt.schemata.iter().flatten().filter(|text| !text.is_empty()) {
        lines.push(line(SCHEMATA, text)?);
    }
    Ok(lines)
}

fn line(property: &'static str, text: &str) -> Result<Line> {
    if text.contains('\n') {
        bail!("{property}: {text:?} must not hold a newline");
    }
    Ok(Line { property, text: text.to_owned() })
}

/// A group that others may be in already must have what is asked for (config-linux.md#intelrdt).
pub(super) fn check_same(root: &Path, line: &Line, schemata: &str) -> Result<()> {
    let Some((resource, wanted)) = parse(&line.text) else {
        bail!("{}: {:?} is no RESOURCE:ID=VALUE;…", line.property, line.text);
    };
    let present = schemata.lines().filter_map(parse).find(|(name, _)| *name == resource);
    let is_same = present.is_some_and(|(_, present)| {
        wanted.iter().all(|(id, wanted)| {
            present.get(id).is_some_and(|present| is_equal(root, resource, wanted, present))
        })
    });
    if !is_same {
        let text = &line.text;
        bail!("{}: {text:?} is not what the group has: {:?}", line.property, schemata.trim());
    }
    Ok(())
}

/// The resource, and for each id of a cache the value.
fn parse(line: &str) -> Option<(&str, BTreeMap<&str, &str>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let values = values.split(';').map(|part| {
        let (id, value) = part.split_once('=')?;
        Some((id.trim(), value.trim()))
    });
    Some((resource.trim(), values.collect::<Option<_>>()?))
}

/// Masks are in base 16; bandwidth is rounded up to the machine's steps.
fn is_equal(root: &Path, resource: &str, wanted: &str, present: &str) -> bool {
    if resource != "MB" {
        let mask = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        return mask(wanted).is_some_and(|wanted| mask(present) == Some(wanted));
    }
    let (Ok(wanted), Ok(present)) = (wanted.parse::<u64>(), present.parse::<u64>()) else {
        return false;
    };
    let step = super::read(&root.join("info/MB/bandwidth_gran"));
    let step = step.ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(1).max(1);
    wanted == present || wanted.next_multiple_of(step) == present
}
