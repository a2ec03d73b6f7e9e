// SPDX-License-Identifier: Apache-2.0
//! What the fuzz target does with `mounts[].options`.

use super::options::{Options, attributes, superblock_flags};
use crate::oci::Str;
use crate::sys::mount::attr;

/// Options separated by commas: nothing is both set and cleared, and what is left for the filesystem is
/// what was written.
pub fn mount_options(text: &str) {
    let list: Vec<Str<'_>> = text.split(',').map(|option| option.to_owned().into()).collect();
    let options = match Options::plan(&list) {
        Ok(options) => options,
        Err(error) => return assert!(error.to_string().contains("null byte"), "{error}"),
    };
    assert_eq!(options.flags & options.cleared, 0, "{options:?}");
    let both = options.recursive_set & options.recursive_clear;
    assert_eq!(both & !attr::ATIME, 0, "{options:?}");
    assert_eq!(options.recursive_set & attr::ATIME & !options.recursive_clear, 0, "{options:?}");
    for data in &options.data {
        assert!(list.iter().any(|option| option.as_str() == data), "{data:?}");
    }
    let bits = attributes(options.flags);
    assert!(matches!(bits & attr::ATIME, attr::RELATIME | attr::NOATIME | attr::STRICTATIME));
    assert!(superblock_flags(options.flags).count() <= 64);
    // One after the other in two lists is the same as in one.
    let again = Options::plan(&list).expect("it was taken before");
    assert_eq!(options, again);
}
