// SPDX-License-Identifier: Apache-2.0
//! Properties of a unit: what every container's has, and the limits, each controller's from its own
//! file. systemd gets all that it has a property for, so that what it writes by itself is the same;
//! the files are written besides, as it reports no failure.

use zvariant::Value;

use super::name::Name;
use crate::bail;
use crate::cgroup::devices::Filter;
use crate::cgroup::writes::Write;
use crate::cgroup::{cpu, cpuset, devices, io, memory, pids};
use crate::error::Result;

/// A name and a value, as D-Bus has it.
pub(crate) type Property = (String, Value<'static>);

/// "infinity"
pub(crate) const NO_LIMIT: u64 = u64::MAX;

pub(crate) fn property(name: &str, value: impl Into<Value<'static>>) -> Property {
    (name.to_owned(), value.into())
}

/// What has nothing to do with limits.
pub(super) fn basic(name: &Name, is_unified: bool) -> Vec<Property> {
    let mut list = vec![property("Description", format!("creel container {}", name.short))];
    if name.is_slice() {
        list.push(property("Wants", vec![name.parent.clone()]));
    } else {
        list.push(property("Slice", name.parent.clone()));
        list.push(property("Delegate", true));
    }
    let io = if is_unified { "IOAccounting" } else { "BlockIOAccounting" };
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        list.push(property(accounting, true));
    }
    list.push(property("DefaultDependencies", false));
    list
}

/// The limits, from the files that they are also written to, for a systemd of that version.
pub(crate) fn limits(list: &[Write], version: u32) -> Result<Vec<Property>> {
    let mut properties = memory::systemd(list)?;
    properties.extend(cpu::systemd(list, version)?);
    properties.extend(cpuset::systemd(list)?);
    properties.extend(pids::systemd(list)?);
    properties.extend(io::systemd(list)?);
    Ok(properties)
}

/// Whether one of them is only for newer versions.
pub(crate) fn needs_version(list: &[Write]) -> bool {
    last(list, "cpu.idle") == Some("1") || last(list, "memory.oom.group").is_some()
}

/// What can be told only when the unit is made.
pub(super) fn once(
    list: &[Write],
    filter: &Filter,
    is_unified: bool,
    version: u32,
) -> Vec<Property> {
    let mut properties = devices::systemd(filter, is_unified);
    properties.extend(memory::systemd_once(list, version));
    properties
}

/// The value that a file has in the end.
pub(crate) fn last<'a>(list: &'a [Write], file: &str) -> Option<&'a str> {
    list.iter().rev().find(|w| w.file == file).map(|w| w.value.trim())
}

/// `max` or below zero is no limit.
pub(crate) fn number(write: &str, value: &str) -> Result<u64> {
    match value.parse::<i128>() {
        _ if value == "max" => Ok(NO_LIMIT),
        Ok(..0) => Ok(NO_LIMIT),
        Ok(n) => Ok(u64::try_from(n).unwrap_or(NO_LIMIT)),
        Err(_) => bail!("{write}: {value:?} is not a number"),
    }
}

/// For each of the files that is written, a property of its number.
pub(crate) fn numbers(list: &[Write], table: &[(&str, &str)]) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (file, name) in table {
        if let Some(value) = last(list, file) {
            properties.push(property(name, number(file, value)?));
        }
    }
    Ok(properties)
}

/// For tests: `name=value`.
#[cfg(test)]
pub(crate) fn shown(list: &[Property]) -> Vec<String> {
    list.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Below zero is no limit; what is larger than systemd's numbers is one no more; nothing else changes.
        #[test]
        fn numbers_are_told_as_they_are(n in proptest::num::i128::ANY, small in proptest::num::i64::ANY) {
            for n in [n, small.into()] {
                let want = if n < 0 { NO_LIMIT } else { u64::try_from(n).unwrap_or(NO_LIMIT) };
                proptest::prop_assert_eq!(number("f", &n.to_string()).unwrap(), want);
            }
        }

        #[test]
        fn other_texts_are_refused(text in "[a-z ]{0,5}|[0-9]{1,3}[a-z. ]{1,3}") {
            proptest::prop_assert_eq!(number("f", &text).is_ok(), text == "max");
        }
    }
}
