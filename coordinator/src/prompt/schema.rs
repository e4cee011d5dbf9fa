//! The forms of structured answers, as JSON Schema. Owns their texts alone; reading an answer is the worker's.
//!
//! They keep to what every structured-output mode takes: objects whose properties are all required and that
//! take no others, lists, and `enum`. So figures of any name cannot be properties of one object, and `metrics`
//! is a list of pairs.

/// What an agent answers after a task: `{summary, artifacts[], claims[], metrics[{name, value}]}`.
pub const TASK_SCHEMA: &str = include_str!("schemas/task.json");
/// What Thor's agent answers: `{decision, gates[{name, passed, notes}], findings[{task, text, evidence}]}`.
pub const VERDICT_SCHEMA: &str = include_str!("schemas/verdict.json");
/// What the coordinator's model answers: `{note, tasks[{key, guidance}]}`.
pub const COUNSEL_SCHEMA: &str = include_str!("schemas/counsel.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use wavegate_engine::Decision;

    use super::*;

    /// Fails where a schema uses what some structured-output mode refuses.
    fn check(schema: &Value) {
        let known = ["type", "properties", "required", "items", "enum", "additionalProperties"];
        let fields = schema.as_object().unwrap();
        for name in fields.keys() {
            assert!(known.contains(&name.as_str()), "{name}");
        }
        match fields["type"].as_str().unwrap() {
            "object" => {
                assert_eq!(fields["additionalProperties"], false);
                let properties = fields["properties"].as_object().unwrap();
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                let required: Vec<&str> = fields["required"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap())
                    .collect();
                assert_eq!(names, required);
                properties.values().for_each(check);
            }
            "array" => check(&fields["items"]),
            "string" | "number" | "boolean" => {}
            other => panic!("{other}"),
        }
    }

    #[test]
    fn schemas_use_only_what_every_mode_takes() {
        for schema in [TASK_SCHEMA, VERDICT_SCHEMA, COUNSEL_SCHEMA] {
            check(&serde_json::from_str(schema).unwrap());
        }
    }

    #[test]
    fn decisions_are_the_words_of_the_engine() {
        let schema: Value = serde_json::from_str(VERDICT_SCHEMA).unwrap();
        let words = schema["properties"]["decision"]["enum"].as_array().unwrap();
        assert_eq!(words.len(), 4);
        for word in words {
            assert!(Decision::from_word(word.as_str().unwrap()).is_some(), "{word}");
        }
    }

    #[test]
    fn thor_is_told_of_every_gate() {
        let schema: Value = serde_json::from_str(VERDICT_SCHEMA).unwrap();
        let gates = &schema["properties"]["gates"]["items"]["properties"]["name"]["enum"];
        let told: Vec<&str> = include_str!("validate.md")
            .lines()
            .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
            .map(|(name, _)| name)
            .collect();
        for gate in gates.as_array().unwrap() {
            assert!(told.contains(&gate.as_str().unwrap()), "{gate}");
        }
    }
}
