//! The real agent programs, where they are installed, and the surroundings in which they see nothing of the
//! machine but a stand-in for their API.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{Home, model_api::ModelApi};

/// The key that agents use where a test says nothing else: it opens nothing.
pub const ACCOUNT: &str = "sk-ant-dummy-not-a-key";

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct AgentPrograms {
    pub claude: PathBuf,
    pub codex: PathBuf,
}

impl AgentPrograms {
    /// Those that the environment names, or that `.ci/agents` installed.
    ///
    /// # Errors
    /// They are not there; the text says how to get them.
    pub fn find() -> anyhow::Result<Self> {
        let installed = installed_folder();
        let find = |variable: &str, path: &str| {
            let found = env::var_os(variable).map_or_else(|| installed.join(path), PathBuf::from);
            anyhow::ensure!(
                found.exists(),
                "{} is not there: run .ci/agents, or name the program in {variable}",
                found.display()
            );
            Ok(found)
        };
        Ok(Self {
            claude: find("WAVEGATE_TEST_CLAUDE", "@anthropic-ai/claude-code-linux-x64/claude")?,
            codex: find("WAVEGATE_TEST_CODEX", ".bin/codex")?,
        })
    }

    /// A folder for the PATH that holds them and nothing else.
    pub fn folder(&self, home: &Home) -> anyhow::Result<PathBuf> {
        let folder = home.path("agents-bin");
        fs::create_dir_all(&folder)?;
        for (name, program) in [("claude", &self.claude), ("codex", &self.codex)] {
            let link = folder.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(program, link)?;
            }
        }
        Ok(folder)
    }

    /// What a process needs whose agents are to see the stand-in alone, under this account.
    pub fn environment(
        &self,
        home: &Home,
        api: &ModelApi,
        account: &str,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let path = env::var("PATH").unwrap_or_default();
        let config = home.path(&format!("claude-{account}"));
        fs::create_dir_all(&config)?;
        let codex = home.path(&format!("codex-{account}"));
        fs::create_dir_all(&codex)?;
        fs::write(codex.join("config.toml"), codex_config(&api.url()))?;
        let told = [
            ("PATH", format!("{}:{path}", self.folder(home)?.display())),
            ("CLAUDE_CONFIG_DIR", config.display().to_string()),
            (
                if account.starts_with(LOGIN) { "CLAUDE_CODE_OAUTH_TOKEN" } else { "ANTHROPIC_API_KEY" },
                account.to_owned(),
            ),
            ("ANTHROPIC_BASE_URL", api.url()),
            ("CODEX_HOME", codex.display().to_string()),
            ("CODEX_API_KEY", account.to_owned()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_TELEMETRY", "1".to_owned()),
            ("DISABLE_ERROR_REPORTING", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ];
        Ok(told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// How the token of a login begins: of its limits the program tells the reset, of a key's it does not.
pub const LOGIN: &str = "sk-ant-oat01-";

/// A provider of its own, so that nothing goes anywhere else.
fn codex_config(url: &str) -> String {
    format!(
        "model_provider = \"stand-in\"\n\n[model_providers.stand-in]\nname = \"stand-in\"\nbase_url = \"{url}/v1\"\n\
         env_key = \"CODEX_API_KEY\"\nwire_api = \"responses\"\n"
    )
}

/// Beside the build, so that a clean checkout stays one.
fn installed_folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    target.join("agents/node_modules")
}
