//! Which language a person is asked in. Everything else is in English.

/// The languages of the approval question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locale {
    English,
    Italian,
}

impl Locale {
    pub(crate) fn of_process() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The first of the variables that is set and not empty decides, as POSIX has it.
    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Self {
        let name = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| read(name).filter(|value| !value.is_empty()));
        match name {
            Some(name) if is_italian(&name) => Self::Italian,
            _ => Self::English,
        }
    }
}

/// `it`, `it_IT.UTF-8`, `it-CH`; not another language whose name starts alike.
fn is_italian(name: &str) -> bool {
    let language = name.split(['_', '-', '.', '@']).next();
    language.is_some_and(|language| language.eq_ignore_ascii_case("it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(variables: &[(&str, &str)]) -> Locale {
        Locale::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_italian_locale_asks_in_italian() {
        assert_eq!(locale(&[("LANG", "it_IT.UTF-8")]), Locale::Italian);
        assert_eq!(locale(&[("LC_MESSAGES", "it")]), Locale::Italian);
    }

    #[test]
    fn lc_all_wins_over_lang_unless_it_is_empty() {
        let variables = [("LC_ALL", "C"), ("LANG", "it_IT")];
        assert_eq!(locale(&variables), Locale::English);
        let variables = [("LC_ALL", ""), ("LANG", "it_IT")];
        assert_eq!(locale(&variables), Locale::Italian);
    }

    #[test]
    fn no_locale_asks_in_english() {
        assert_eq!(locale(&[]), Locale::English);
    }
}
