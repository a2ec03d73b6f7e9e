// SPDX-License-Identifier: Apache-2.0
//! For unit tests: runtime-spec's own schemas over what creel prints.

use jsonschema::{Retrieve, Uri};
use serde_json::Value;

/// The schemas under tests/data/schema, by file name.
fn document(name: &str) -> Option<Value> {
    let text = match name {
        "defs.json" => include_str!("../../tests/data/schema/defs.json"),
        "defs-linux.json" => include_str!("../../tests/data/schema/defs-linux.json"),
        "features-schema.json" => include_str!("../../tests/data/schema/features-schema.json"),
        "features-linux.json" => include_str!("../../tests/data/schema/features-linux.json"),
        "state-schema.json" => include_str!("../../tests/data/schema/state-schema.json"),
        _ => return None,
    };
    Some(serde_json::from_str(text).expect("a schema is JSON"))
}

struct Files;

impl Retrieve for Files {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.path().as_str().rsplit('/').next().unwrap_or("");
        document(name).ok_or_else(|| format!("no schema {name}").into())
    }
}

/// What the schema of that name finds wrong with `text`.
pub(crate) fn violations(schema: &str, text: &str) -> Vec<String> {
    let schema = document(schema).expect("the schema is one of ours");
    let options = jsonschema::options().with_base_uri("json-schema:///").with_retriever(Files);
    let validator = options.build(&schema).expect("the schema is valid");
    let value: Value = serde_json::from_str(text).expect("the text is JSON");
    validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}
