//! Starts the stand-in for the model's API and says where it is, for looking at agents by hand. Ends with
//! its standard input.

use std::io::Read as _;

use wavegate_tests::model_api::ModelApi;

#[expect(clippy::print_stdout, reason = "the address is what it is started for")]
fn main() -> anyhow::Result<()> {
    let api = ModelApi::start()?;
    println!("{}", api.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for (model, usage) in api.totals() {
        println!("{model}: {usage:?}");
    }
    Ok(())
}
