#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the target that the release binary is built for.
arch=$(uname -m)
musl=$arch-unknown-linux-musl
if ls "$(rustc --print target-libdir --target "$musl" 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; then
    echo "$musl"
else
    echo "$arch-unknown-linux-gnu"
fi
