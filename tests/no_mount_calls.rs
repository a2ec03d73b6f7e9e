// SPDX-License-Identifier: Apache-2.0
//! A kernel (or a seccomp filter around creel) without the descriptor-based mount calls: a plain
//! refusal. Run by hack/enosys.sh, which leaves them out.

mod common;

use common::{Bundle, is_root, lacks};

#[test]
fn a_kernel_without_open_tree_is_refused_by_name() {
    if !is_root() {
        return;
    }
    if !lacks("open_tree") {
        println!("SKIP: this kernel has open_tree (hack/enosys.sh leaves it out)");
        return;
    }
    let bundle = Bundle::new("true");
    let run = bundle.run();
    assert_eq!(run.code, 1, "{run:?}");
    let needs = "open_tree and its like: creel needs Linux 5.10";
    assert!(run.message().contains(needs), "{}", run.message());
    assert_eq!(bundle.leftovers(), [""; 0]);
}
