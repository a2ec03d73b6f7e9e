// SPDX-License-Identifier: Apache-2.0
//! From outside: the parent's half of `create` and `exec`, in order.

pub(crate) mod affinity;
mod console;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod foreground;
pub(crate) mod ids;
pub(crate) mod mounts;
pub(crate) mod netdev;
pub(crate) mod resctrl;
pub(crate) mod seccomp_agent;
pub(crate) mod serve;
pub(crate) mod spawn;
pub(crate) mod time;
