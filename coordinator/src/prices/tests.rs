use std::fs;

use wavegate_engine::{CostSource, ModelUsage, Outcome, Report, Talk, Usage, model::Family};

use super::{PriceError, Prices};

fn usage(model: &str, [tokens_in, tokens_out, cache_read, cache_write]: [u64; 4]) -> ModelUsage {
    ModelUsage {
        model: model.to_owned(),
        tokens_in,
        tokens_out,
        cache_read,
        cache_write,
        calls: 1,
        ..ModelUsage::default()
    }
}

fn report(models: Vec<ModelUsage>) -> Report {
    Report {
        outcome: Outcome::Succeeded,
        exit_code: None,
        summary: String::new(),
        output_tail: String::new(),
        run_ms: 0,
        usage: Usage { tokens_in: 7, ..Usage::default() },
        output_json: String::new(),
        changes: None,
        changed_files: 0,
        candidate: None,
        conflicts: Vec::new(),
        target: None,
        published: Default::default(),
        verdict: None,
        talk: Talk { models, ..Talk::default() },
        counsel: None,
    }
}

/// What reading a file of this text gives.
fn read(text: &str) -> Result<Prices, PriceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my-prices.toml");
    fs::write(&path, text).unwrap();
    Prices::read(&path)
}

/// Where a file of this text is wrong, and why.
fn mistake(text: &str) -> (usize, usize, String) {
    match read(text).unwrap_err() {
        PriceError::Wrong { file, line, column, message } => {
            assert!(file.ends_with("my-prices.toml"), "{file}");
            assert!(!message.contains('\n'), "{message}");
            (line, column, message)
        }
        PriceError::Unreadable { file, error } => panic!("{file}: {error}"),
    }
}

/// Each row was measured: one million tokens of each kind, by the costs that the program itself printed.
#[test]
fn each_kind_of_token_has_its_price() {
    let prices = Prices::built_in();
    for (model, expected) in [
        ("claude-opus-5-5", [4_000_000, 20_000_000, 200_000, 5_000_000]),
        ("claude-sonnet-5-5", [2_000_000, 10_000_000, 100_000, 2_500_000]),
        ("claude-opus-4-6", [5_000_000, 25_000_000, 500_000, 6_250_000]),
        ("claude-haiku-4-5", [1_000_000, 5_000_000, 100_000, 1_250_000]),
    ] {
        for (at, cost) in expected.into_iter().enumerate() {
            let mut tokens = [0; 4];
            tokens[at] = 1_000_000;
            assert_eq!(prices.cost(&usage(model, tokens)), Some(cost), "{model} {at}");
        }
    }
}

#[test]
fn long_requests_cost_more_where_the_table_says_so() {
    let prices = Prices::built_in();
    let cost = |tokens, calls| prices.cost(&ModelUsage { calls, ..usage("haiku", tokens) });
    assert_eq!(cost([100_000, 0, 0, 0], 1), Some(10_000));
    assert_eq!(cost([100_002, 0, 0, 0], 1), Some(50_001));
    // The whole input counts, output does not.
    assert_eq!(cost([90_000, 0, 20_000, 0], 1), Some(46_000));
    assert_eq!(cost([90_000, 0, 0, 20_000], 1), Some(57_500));
    assert_eq!(cost([90_000, 20_000, 0, 0], 1), Some(19_000));
    // Ten requests of 50,000 tokens are not one of 500,000.
    assert_eq!(cost([500_000, 0, 0, 0], 10), Some(50_000));
    assert_eq!(cost([500_000, 0, 0, 0], 0), Some(250_000));
}

#[test]
fn aliases_dates_dots_and_vendors_do_not_hide_a_model() {
    let prices = Prices::built_in();
    for (model, cost) in [
        ("opus", Some(4)),
        ("Sonnet", Some(2)),
        ("claude-opus-4.6", Some(5)),
        ("claude-opus-5-5-20261001", Some(4)),
        ("claude-opus-5-5@20261001", Some(4)),
        ("claude-opus-5-5[1m]", Some(4)),
        ("us.anthropic.claude-opus-5-5-v1:0", Some(4)),
        ("claude-opus-5-5-vision", None),
        ("anthropic/claude-sonnet-5-5", Some(2)),
        ("claude-opus-5", Some(5)),
    ] {
        let cost = cost.map(|usd: u64| usd * 1_000_000);
        assert_eq!(prices.cost(&usage(model, [1_000_000, 0, 0, 0])), cost, "{model}");
    }
}

#[test]
fn a_model_that_is_not_in_the_table_has_no_price() {
    let prices = Prices::built_in();
    for model in ["", "mystery", "gpt-5.3-codex", "claude-opus-5-7", "claude-opus-50", "claude", "sonnets"] {
        assert_eq!(prices.cost(&usage(model, [1, 1, 1, 1])), None, "{model}");
    }
}

#[test]
fn costs_are_rounded_to_the_nearest_millionth_and_never_overflow() {
    let prices = Prices::built_in();
    assert_eq!(prices.cost(&usage("sonnet", [0, 0, 4, 0])), Some(0));
    assert_eq!(prices.cost(&usage("sonnet", [0, 0, 5, 0])), Some(1));
    assert_eq!(prices.cost(&usage("sonnet", [0, 0, 10, 1])), Some(4));
    assert_eq!(prices.cost(&usage("opus", [u64::MAX; 4])), Some(u64::MAX));
}

#[test]
fn a_report_is_completed_and_the_agents_own_word_stands() {
    let own = ModelUsage {
        cost_micro_usd: Some(1),
        cost_source: CostSource::Agent,
        ..usage("opus", [10, 20, 30, 40])
    };
    let mut report =
        report(vec![own.clone(), usage("sonnet", [1000, 100, 5000, 400]), usage("x", [1, 2, 3, 4])]);
    Prices::built_in().complete(&mut report);
    let costs: Vec<_> =
        report.talk.models.iter().map(|model| (model.cost_micro_usd, model.cost_source)).collect();
    assert_eq!(
        costs,
        [(Some(1), CostSource::Agent), (Some(4500), CostSource::Prices), (None, CostSource::Unknown)]
    );
    assert_eq!(report.talk.models[0], own);
    let sum = Usage { tokens_in: 1455, tokens_out: 122, tokens_cached: 5033, cost_micro_usd: Some(4501) };
    assert_eq!(report.usage, sum);
}

#[test]
fn usage_without_models_is_one_line_of_the_model_that_answered_or_of_none() {
    let complete = |model: &str, usage| {
        let mut report = Report { usage, ..report(Vec::new()) };
        report.talk.model = model.to_owned();
        Prices::built_in().complete(&mut report);
        (report.usage, report.talk.models)
    };
    let told = Usage { tokens_in: 5, tokens_out: 6, tokens_cached: 7, cost_micro_usd: Some(10_000) };
    let (sum, lines) = complete("", told);
    let line = ModelUsage {
        cost_micro_usd: Some(10_000),
        cost_source: CostSource::Agent,
        calls: 0,
        ..usage("", [5, 6, 7, 0])
    };
    assert_eq!((sum, lines), (told, vec![line]));
    let untold = Usage { cost_micro_usd: None, ..told };
    assert_eq!(complete("", untold).0, untold);
    let (sum, lines) = complete("sonnet", Usage { tokens_in: 1_000_000, ..Usage::default() });
    assert_eq!(sum.cost_micro_usd, Some(2_000_000));
    assert_eq!((lines[0].model.as_str(), lines[0].cost_source), ("sonnet", CostSource::Prices));
    assert_eq!(complete("sonnet", Usage::default()), (Usage::default(), Vec::new()));
}

#[test]
fn estimates_mix_input_and_output_by_the_assumed_share() {
    let blended = Prices::built_in().blended();
    let prices: Vec<_> = blended.micro_usd_per_million.into_iter().collect();
    let expected = [(Family::Haiku, 160_000), (Family::Sonnet, 3_200_000), (Family::Opus, 6_400_000)];
    assert_eq!(prices, expected);
}

#[test]
fn a_file_replaces_entries_by_name_and_leaves_the_others() {
    let prices = read(
        "date = \"2027-01-02\"
[aliases]
sonnet = \"claude-sonnet-6\"
[estimates]
output_share = 0.5
[models]
\"claude-sonnet-6\" = { input = 1, output = 3 }
\"claude-opus-5.5\" = { input = 40, output = 200, cache_read = 2, cache_write = 50 }
\"gpt-5.3-codex\" = { input = 1.25, output = 10, cache_read = 0.125 }
",
    )
    .unwrap();
    let date = |model: &str| {
        let mut models = [usage(model, [1, 0, 0, 0])];
        prices.price(&mut models);
        models[0].price_date.clone()
    };
    // An entry that the file does not name is still of the day that it was.
    assert_eq!(["sonnet", "haiku", "mystery"].map(date), ["2027-01-02", "2026-11-23", ""]);
    assert_eq!(prices.blended_date(), "2026-11-23, 2027-01-02");
    let million = |model| prices.cost(&usage(model, [1_000_000, 0, 0, 0]));
    assert_eq!(million("opus"), Some(40_000_000));
    assert_eq!(million("sonnet"), Some(1_000_000));
    assert_eq!(million("gpt-5.3-codex"), Some(1_250_000));
    assert_eq!(million("claude-haiku-4-5"), Some(1_000_000));
    // What an entry does not price costs what input costs.
    assert_eq!(prices.cost(&usage("sonnet", [0, 0, 1_000_000, 1_000_000])), Some(2_000_000));
    assert_eq!(prices.blended().of(Some(Family::Sonnet), 1_000_000), Some(2_000_000));
}

#[test]
fn a_date_may_be_text_or_a_toml_date() {
    for date in ["\"2028-02-29\"", "2028-02-29"] {
        assert!(read(&format!("date = {date}\n")).is_ok(), "{date}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_line_and_column() {
    let date = "date = \"2026-11-23\"\n";
    let model = |entry: &str| format!("{date}[models]\nm = {{ {entry} }}\n");
    for (text, line, column, words) in [
        ("[models]\n".to_owned(), 1, 1, "missing field `date`"),
        ("date = \"yesterday\"\n".to_owned(), 1, 8, "expected a date such as \"2026-11-23\""),
        ("date = \"2026-13-01\"\n".to_owned(), 1, 8, "expected a date"),
        ("date = \"2026-02-31\"\n".to_owned(), 1, 8, "expected a date"),
        ("date = 2026-11-23T09:00:00\n".to_owned(), 1, 8, "expected a date such as \"2026-11-23\""),
        (
            "date = 20261123\n".to_owned(),
            1,
            8,
            "expected a date such as \"2026-11-23\", found a value of type integer",
        ),
        (format!("{date}[models]\n\"\" = {{ input = 1, output = 2 }}\n"), 3, 1, "no model's name"),
        (
            format!(
                "{date}[models]\n\"gpt.x\" = {{ input = 1, output = 2 }}\n\"v/GPT.X\" = {{ input = 1, output = 2 }}\n"
            ),
            4,
            1,
            "`v/GPT.X` is the same model as `gpt.x`",
        ),
        (
            format!("{date}[models]\nsonnet = {{ input = 1, output = 2 }}\n"),
            3,
            1,
            "an alias of `claude-sonnet-5-5`",
        ),
        (
            format!("{date}[aliases]\nclaude-opus-5 = \"claude-opus-4-8\"\n"),
            3,
            1,
            "the name of a listed model",
        ),
        (format!("{date}modles = 1\n"), 2, 1, "unknown field `modles`"),
        (format!("{date}source = \n"), 2, 10, ""),
        (model("input = -1, output = 2"), 3, 15, "from 0 to 100000, found -1"),
        (model("input = nan, output = 2"), 3, 15, "found NaN"),
        (model("input = \"4\", output = 2"), 3, 15, "expected a number"),
        (model("input = 1"), 3, 5, "missing field `output`"),
        (model("input = 1, output = 2, cached = 3"), 3, 30, "unknown field `cached`"),
        (format!("{date}[aliases]\n\"ü\" = \"claude-x\"\n"), 3, 7, "no entry of `models` names"),
        (format!("{date}[estimates]\noutput_share = 15\n"), 3, 16, "expected a share from 0 to 1, found 15"),
    ] {
        let (found_line, found_column, message) = mistake(&text);
        assert!(message.contains(words), "{text}\n{message}");
        assert_eq!((found_line, found_column), (line, column), "{text}\n{message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Prices::read(std::path::Path::new("nowhere/prices.toml")).unwrap_err();
    assert!(error.to_string().starts_with("nowhere/prices.toml: "), "{error}");
}
