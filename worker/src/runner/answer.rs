//! Structured answers of agents whose program has no flag for them, or one that takes less than JSON
//! Schema: how they are asked for in words, how they are found in a text, and how a schema becomes strict.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde_json::{Map, Value, json};

/// A prompt that asks for an answer by this schema.
pub(super) fn asked_in_words(prompt: &str, schema: &str) -> String {
    if schema.is_empty() {
        return prompt.to_owned();
    }
    format!(
        "{prompt}\n\nEnd with your answer as one JSON object, and nothing after it, that is valid by this \
         JSON Schema:\n```json\n{schema}\n```\n"
    )
}

/// The JSON object of an answer: the whole text, its last code block, or its last line on which an object
/// begins that goes to the end.
pub(super) fn found_in(text: &str) -> Option<Value> {
    object(text).or_else(|| object(last_block(text)?)).or_else(|| {
        let starts: Vec<_> = text.match_indices('{').map(|(at, _)| at).take(MOST_STARTS).collect();
        starts.into_iter().find_map(|at| object(text[at..].trim_end_matches(['`', '\n', ' '])))
    })
}

/// A text full of braces is not searched for ever.
const MOST_STARTS: usize = 1_000;

fn object(text: &str) -> Option<Value> {
    serde_json::from_str::<Value>(text.trim()).ok().filter(Value::is_object)
}

fn last_block(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once("```")?;
    let (_, block) = before.rsplit_once("```")?;
    Some(block.trim_start_matches("json"))
}

/// The schema as providers with strict ones take it: every object closed, every property required, those
/// that were not may be null. None where it has objects of any keys, which a strict schema cannot say.
pub(super) fn strict(schema: &str) -> Option<Value> {
    let mut schema: Value = serde_json::from_str(schema).ok()?;
    make_strict(&mut schema).then_some(schema)
}

fn make_strict(schema: &mut Value) -> bool {
    let Value::Object(fields) = schema else { return !schema.is_array() };
    if !is_closable(fields) {
        return false;
    }
    let required: Vec<_> = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            if !make_strict(property) {
                return false;
            }
            if !required.iter().any(|known| known == name) {
                make_nullable(property);
            }
        }
        let names: Vec<_> = properties.keys().cloned().collect();
        fields.insert("required".to_owned(), json!(names));
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    let within = ["items"].into_iter().all(|key| fields.get_mut(key).is_none_or(make_strict));
    let each = |key: &str, fields: &mut Map<String, Value>| match fields.get_mut(key) {
        Some(Value::Array(list)) => list.iter_mut().all(make_strict),
        Some(Value::Object(map)) => map.values_mut().all(make_strict),
        Some(_) => false,
        None => true,
    };
    within && ["anyOf", "$defs", "definitions"].into_iter().all(|key| each(key, fields))
}

fn is_closable(fields: &Map<String, Value>) -> bool {
    let is_object = fields.get("type").is_some_and(|kind| kind == "object");
    let is_typed = ["type", "enum", "const", "anyOf", "$ref"].iter().any(|key| fields.contains_key(*key));
    let is_open = fields.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false));
    is_typed && !is_open && (!is_object || fields.contains_key("properties"))
}

fn make_nullable(property: &mut Value) {
    let kind = property.get("type").cloned();
    match kind {
        Some(Value::String(name)) => property["type"] = json!([name, "null"]),
        Some(Value::Array(mut names)) if !names.iter().any(|name| name == "null") => {
            names.push(json!("null"));
            property["type"] = Value::Array(names);
        }
        Some(_) => return,
        None => *property = json!({ "anyOf": [property.take(), { "type": "null" }] }),
    }
    if let Some(Value::Array(values)) = property.get_mut("enum") {
        values.push(Value::Null);
    }
}

/// The answer without the members that a strict schema made null.
pub(super) fn without_nulls(answer: Value) -> Value {
    match answer {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// Writes a file for the program alone; its folder is made where it is not there.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_alone_in_a_block_and_at_the_end_of_words() {
        let answer = json!({ "a": { "b": 1 } });
        for text in [
            "{\"a\":{\"b\":1}}",
            "Here:\n```json\n{\"a\":{\"b\":1}}\n```\n",
            "I used {braces}. So: {\"a\":{\"b\":1}}\n",
            "```sh\nls\n```\nthen\n```\n{\"a\":{\"b\":1}}\n```",
        ] {
            assert_eq!(found_in(text), Some(answer.clone()), "{text}");
        }
        assert_eq!((found_in("no answer {"), found_in("[1]"), found_in("")), (None, None, None));
    }

    #[test]
    fn a_schema_becomes_strict_and_the_answer_loses_its_nulls() {
        let schema = json!({"type":"object","properties":{
            "must":{"type":"string"},
            "may":{"type":"array","items":{"type":"object","properties":{"x":{"type":"integer"}}}},
            "kind":{"enum":["a"],"type":"string"}},"required":["must"]});
        let strict = strict(&schema.to_string()).unwrap();
        assert_eq!(strict["required"], json!(["must", "may", "kind"]));
        assert_eq!(strict["additionalProperties"], false);
        assert_eq!(strict["properties"]["must"]["type"], "string");
        assert_eq!(strict["properties"]["may"]["type"], json!(["array", "null"]));
        assert_eq!(strict["properties"]["may"]["items"]["required"], json!(["x"]));
        assert_eq!(strict["properties"]["kind"]["enum"], json!(["a", null]));
        let answer = json!({"must":"x","may":[{"x":null}],"kind":null});
        assert_eq!(without_nulls(answer), json!({"must":"x","may":[{}]}));
    }

    #[test]
    fn objects_of_any_keys_cannot_be_strict() {
        for schema in [
            r#"{"type":"object","properties":{"m":{"type":"object"}}}"#,
            r#"{"type":"object","properties":{"m":{"type":"object","additionalProperties":{"type":"number"}}}}"#,
            r#"{"type":"object","properties":{"m":{}}}"#,
            "no JSON",
        ] {
            assert_eq!(strict(schema), None, "{schema}");
        }
    }
}
