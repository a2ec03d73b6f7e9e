// SPDX-License-Identifier: Apache-2.0
//! Containers of an ordinary user.

#[path = "common/agent.rs"]
#[allow(dead_code)] // a part of it is used here
mod agent;
mod common;
#[path = "rootless/user.rs"]
mod user;

#[path = "rootless/cgroups.rs"]
mod cgroups;
#[path = "rootless/exec.rs"]
mod exec;
#[path = "rootless/ids.rs"]
mod ids;
#[path = "rootless/life.rs"]
mod life;
#[path = "rootless/nested.rs"]
mod nested;
