//! Starts the stand-in for the model's API and says where it is, for looking at agents by hand; a TOML file
//! as its argument holds scripts by the keys of tasks. Ends with its standard input.

use std::io::Read as _;

use wavegate_tests::model_api::{ModelApi, Scripts};

#[expect(clippy::print_stdout, reason = "the address is what it is started for")]
fn main() -> anyhow::Result<()> {
    let scripts = match std::env::args().nth(1) {
        Some(path) => toml::from_str(&std::fs::read_to_string(path)?)?,
        None => Scripts::new(),
    };
    let api = ModelApi::with_scripts(scripts)?;
    println!("{}", api.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for (model, usage) in api.totals() {
        println!("{model}: {usage:?}");
    }
    Ok(())
}
