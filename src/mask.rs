// SPDX-License-Identifier: Apache-2.0
//! CPUs and NUMA nodes in cpuset(7)'s list format (`0-3,5`), as a bit mask without a fixed size.

use std::ffi::c_ulong;

use crate::bail;
use crate::error::Result;

/// A set of small numbers; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask(Vec<c_ulong>);

const BITS: usize = c_ulong::BITS as usize;

/// As runc has it: far above what a kernel can be built for, far below what hurts.
const MAX: usize = 64 * 1024;

impl Mask {
    /// None for an empty text; commas and spaces in excess are allowed, as in runc.
    pub(crate) fn parse(list: &str) -> Result<Option<Self>> {
        if list.is_empty() {
            return Ok(None);
        }
        let mut words = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                bail!("{item:?} runs backwards");
            }
            words.resize(words.len().max(last / BITS + 1), 0);
            for n in first..=last {
                words[n / BITS] |= 1 << (n % BITS);
            }
        }
        if words.is_empty() {
            bail!("{list:?} names nothing");
        }
        Ok(Some(Self(words)))
    }

    pub(crate) fn words(&self) -> &[c_ulong] {
        &self.0
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

fn number(text: &str) -> Result<usize> {
    // `parse` takes a plus sign, the format does not.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(n) if digits && n <= MAX => Ok(n),
        Ok(_) if digits => bail!("{text} is above {MAX}"),
        _ => bail!("{text:?} is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_bits() {
        let mask = |list| Mask::parse(list).unwrap().unwrap().0;
        assert_eq!(mask("0-3,5"), [0b10_1111]);
        assert_eq!(mask(" 1 , ,2,"), [0b110]);
        assert_eq!(mask("64"), [0, 1]);
        assert_eq!(Mask::parse("").unwrap(), None);
        assert_eq!(Mask::parse("0-1099").unwrap().unwrap().count(), 1100);
    }

    #[test]
    fn refusals_say_which_item() {
        let refusal = |list| Mask::parse(list).unwrap_err().to_string();
        assert_eq!(refusal("3-1"), "\"3-1\" runs backwards");
        assert_eq!(refusal("0,x"), "\"x\" is not a number");
        assert_eq!(refusal("+1"), "\"+1\" is not a number");
        assert_eq!(refusal("-1"), "\"\" is not a number");
        assert_eq!(refusal("99999999"), "99999999 is above 65536");
        assert_eq!(refusal(", ,"), "\", ,\" names nothing");
    }
}
