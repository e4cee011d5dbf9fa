//! A plan's variables. Owns their names, their values from `vars` and `--set`, and which are
//! reserved.

use std::collections::BTreeMap;

use super::{
    fields::Field,
    near::did_you_mean,
    node::{Place, Placed, Value, shorten},
    report::Report,
    value::one_of,
};

/// The variable that holds the absolute directory of the plan file; whoever reads the file gives
/// it among the set values, and every plan accepts it.
pub const PLAN_DIR: &str = "WAVEGATE_PLAN_DIR";
/// What Wavegate itself gives to commands begins so.
const RESERVED: &str = "WAVEGATE_";

/// Why this cannot be the name of a variable.
pub(super) fn name_objection(name: &str) -> Option<String> {
    let shown = shorten(name);
    let mut characters = name.chars();
    let valid = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Some(format!(
            "`{shown}` is no name of a variable; expected letters, digits and `_`, \
             not beginning with a digit"
        ));
    }
    name.to_ascii_uppercase()
        .starts_with(RESERVED)
        .then(|| format!("`{shown}` is reserved; expected a name that does not begin with `{RESERVED}`"))
}

/// The values of all variables: what is set, else the default.
pub(super) fn resolve(
    field: Option<&Field<'_>>,
    sets: &BTreeMap<String, String>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let declared = field.map(|field| declared(field, report)).unwrap_or_default();
    let place = field.map_or(Place::START, |field| field.key);
    let mut values = BTreeMap::new();
    for (name, value) in sets {
        if name == PLAN_DIR || declared.contains_key(name) {
            accept(name, value, place, &mut values, report);
        } else if !report.is_full() {
            report.error(place, unknown(name, &declared));
        }
    }
    for (name, default) in declared {
        let default_value = default.value;
        match (values.contains_key(&name), default_value) {
            (true, _) => {}
            (false, Some(value)) => {
                values.insert(name, value);
            }
            (false, None) if sets.contains_key(&name) => {}
            (false, None) => report.error(
                default.place,
                format!(
                    "the variable `{name}` has no value; \
                     expected `--set {name}=VALUE`, or a default here"
                ),
            ),
        }
    }
    values
}

fn accept(name: &str, value: &str, place: Place, values: &mut BTreeMap<String, String>, report: &mut Report) {
    if value.contains('\0') {
        report.error(place, format!("`--set {name}`: found a NUL character; expected printable text"));
    } else {
        values.insert(name.to_owned(), value.to_owned());
    }
}

fn declared(field: &Field<'_>, report: &mut Report) -> BTreeMap<String, Placed<Option<String>>> {
    let Value::Map(entries) = &field.node.value else {
        field.wrong("a mapping of names to defaults", report);
        return BTreeMap::new();
    };
    let mut declared = BTreeMap::new();
    for (key, node) in entries {
        if let Some(objection) = name_objection(&key.value) {
            report.error(key.place, format!("`vars`: {objection}"));
            continue;
        }
        let value = match &node.value {
            Value::Null => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) => Some(text.clone()),
            Value::Text(text) if !text.contains('\0') => Some(text.clone()),
            other @ (Value::Text(_) | Value::List(_) | Value::Map(_)) => {
                report.error(
                    node.place,
                    format!(
                        "default of the variable `{}`: expected text, a number, true, false, \
                         or nothing where `--set` must give it, found {}",
                        key.value,
                        other.describe()
                    ),
                );
                // Known all the same, so that `--set` of it is no second mistake.
                Some(String::new())
            }
        };
        let place = key.place;
        declared.insert(key.value.clone(), Placed { place, value });
    }
    declared
}

fn unknown(name: &str, declared: &BTreeMap<String, Placed<Option<String>>>) -> String {
    /// So many names are told.
    const TOLD: usize = 12;
    let names: Vec<&str> = declared.keys().map(String::as_str).collect();
    let expected = match names.as_slice() {
        [] => "this plan has no variables".to_owned(),
        all if all.len() <= TOLD => format!("expected {}", one_of(all)),
        all => {
            let more = all.len() - TOLD;
            format!("expected {}, or one of {more} more", one_of(&all[..TOLD]))
        }
    };
    format!(
        "`--set {}=...`: no variable of this name in `vars`; {expected}{}",
        shorten(name),
        did_you_mean(name, names)
    )
}
