//! A plan file on its way to a coordinator: read, checked without one, then submitted. What is
//! wrong with it is told before anything is stored.

use std::{collections::BTreeMap, fs, io, path::Path};

use wavegate_proto::v1;

use super::{
    actor,
    args::BudgetArgs,
    backend::{Backend, CheckedFile, PlanBase, RepositoryBase},
    desk::{Desk, Link},
    failure::Failure,
    text,
};
use crate::planfile::PLAN_DIR;

/// A plan file and what was found in it.
#[derive(Debug)]
pub(crate) struct PlanFile {
    source: String,
    name: String,
    sets: BTreeMap<String, String>,
    pub(crate) checked: CheckedFile,
}

impl PlanFile {
    /// Reads and checks a file, and estimates by these prices. What is wrong within it is in `checked`.
    pub(crate) async fn read<B: Backend>(
        desk: &Desk<B>,
        path: &Path,
        sets: &[(String, String)],
        prices: Option<&Path>,
    ) -> Result<Self, Failure> {
        let source = read_text(path)?;
        let sets = with_places(unique(sets)?, path)?;
        let name = path.display().to_string();
        let checked = desk.backend.check_file(&source, &name, &sets, prices);
        let checked = checked.await.map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { source, name, sets, checked })
    }

    /// Tells the diagnostics; errors among them are a failure.
    pub(crate) fn require_sound<B: Backend>(&self, desk: &Desk<B>) -> Result<(), Failure> {
        let diagnostics = &self.checked.answer.diagnostics;
        let told = text::diagnostics(diagnostics);
        if !told.is_empty() {
            desk.console.tell(told.trim_end());
        }
        if is_sound(diagnostics) {
            return Ok(());
        }
        Err(Failure::Usage(format!("{} is not a plan: nothing was stored", self.name)))
    }

    /// What each mode would cost.
    pub(crate) fn estimates(&self) -> v1::Estimates {
        let outline = self.checked.answer.outline.clone();
        outline.and_then(|outline| outline.estimates).unwrap_or_default()
    }

    /// Stores the plan, with what it starts from.
    pub(crate) async fn submit<B: Backend>(
        &self,
        desk: &Desk<B>,
        link: &Link<B::Embedded>,
        budget: &BudgetArgs,
    ) -> Result<v1::SubmitPlanResponse, Failure> {
        let connection = &link.connection;
        let (mut repository, mut base) = (String::new(), String::new());
        let base_tree = match &self.checked.base {
            PlanBase::Folder(dir) => {
                let uploaded = desk.backend.upload_tree(connection, dir).await;
                uploaded.map_err(Failure::Backend)?
            }
            PlanBase::Repository(found) => {
                (repository, base) = (found.location.clone(), found.base.clone());
                upload_state(desk, link, found).await?
            }
            PlanBase::Empty => String::new(),
        };
        let request = v1::SubmitPlanRequest {
            source: self.source.clone(),
            file_name: self.name.clone(),
            set: self.sets.clone().into_iter().collect(),
            base_tree,
            by: actor::by(),
            budget_tokens: budget.budget_tokens,
            budget_micro_usd: budget.budget_usd,
            repository,
            base,
        };
        let answer = connection.plans().submit_plan(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| connection.failure(&status))
    }
}

/// The state that the plan starts from. The workers of another coordinator may be on other hosts.
async fn upload_state<B: Backend>(
    desk: &Desk<B>,
    link: &Link<B::Embedded>,
    base: &RepositoryBase,
) -> Result<String, Failure> {
    let (stores, for_others) = (desk.stores(), link.embedded.is_none());
    let uploaded = desk.backend.upload_state(&link.connection, base, for_others, stores.as_deref()).await;
    let uploaded = uploaded.map_err(Failure::Backend)?;
    if let Some(warning) = &uploaded.warning {
        desk.console.tell(&format!("warning: {}", text::clean(warning)));
    }
    Ok(uploaded.digest)
}

/// Whether a plan with these diagnostics can be stored.
pub(crate) fn is_sound(diagnostics: &[v1::Diagnostic]) -> bool {
    let error = |one: &v1::Diagnostic| one.severity() == v1::Severity::Error;
    !diagnostics.iter().any(error)
}

/// Commands run in directories of their own: where the plan file is goes with it, and a value that is
/// written as a relative path (`.`, `..`, `./x`, `../x`) becomes an absolute one.
fn with_places(mut sets: BTreeMap<String, String>, path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let absolute = |path: &Path| {
        fs::canonicalize(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
    };
    for value in sets.values_mut() {
        if matches!(value.as_str(), "." | "..") || value.starts_with("./") || value.starts_with("../") {
            *value = absolute(Path::new(value))?.display().to_string();
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sets.insert(PLAN_DIR.to_owned(), absolute(folder)?.display().to_string());
    Ok(sets)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", path.display()));
    let bytes = fs::read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return wrong("there is no such file, expected a plan");
        }
        if error.kind() == io::ErrorKind::IsADirectory {
            return wrong("this is a directory, expected a plan file");
        }
        wrong(&format!("this file cannot be read: {error}"))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        wrong(&format!("the byte at offset {valid} is not UTF-8, expected text"))
    })
}

fn unique(sets: &[(String, String)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut unique = BTreeMap::new();
    for (key, value) in sets {
        if unique.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::Usage(format!("--set {key}=... is given twice")));
        }
    }
    Ok(unique)
}
