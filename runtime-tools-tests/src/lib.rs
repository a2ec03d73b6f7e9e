//! What the checker inside the container and the driver outside of it share: the kernel's tables
//! and the few system calls that no safe crate covers.
// SPDX-License-Identifier: Apache-2.0

pub mod names;
pub mod proc;
pub mod sys;
