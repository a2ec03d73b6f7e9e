// SPDX-License-Identifier: Apache-2.0
//! A terminal container of whose terminal nobody wants anything: the other end of --console-socket
//! only listens.

use std::os::unix::net::UnixListener;

use super::common::{Bundle, Run, json};

/// `create` of a container with a terminal, which hangs up when the listener goes.
pub(crate) fn create(bundle: &mut Bundle) -> (Run, UnixListener) {
    bundle.set("/process/terminal", json!(true));
    bundle.write();
    let socket = bundle.dir.join("console");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let socket = socket.to_str().expect("UTF-8");
    let run = bundle.runtime(&["create", "--console-socket", socket, bundle.id()]);
    (run, listener)
}
