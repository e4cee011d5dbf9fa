//! Somebody's git repository in a home, as its people see it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// A repository that plans work on and people push to.
#[derive(Debug, Clone)]
pub struct Repository {
    path: PathBuf,
}

/// Files by path, with their bytes and the time of their last change.
pub type Picture = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

impl Repository {
    /// One with these files on `main`, which nobody has checked out.
    pub fn new(path: PathBuf, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        fs::create_dir_all(&path)?;
        let repository = Self { path };
        repository.git(&["init", "-q", "-b", "main"])?;
        repository.write(files)?;
        repository.git(&["add", "-A"])?;
        repository.git(&["commit", "-qm", "Begin"])?;
        repository.git(&["switch", "-q", "--detach"])?;
        Ok(repository)
    }

    /// The project's own repository with its history, on `main`; where the sources are in none, one commit of them.
    pub fn of_this_project(path: PathBuf) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let repository = Self { path };
        if root.join(".git").exists() {
            let (from, to) = (root.display().to_string(), repository.path.display().to_string());
            run(&root, &["clone", "-q", "--no-local", &from, &to])?;
        } else {
            run(Path::new("."), &["init", "-q", &repository.path.display().to_string()])?;
            for part in ["README.md", "CHANGELOG.md", "coordinator/engine/src"] {
                copy(&root.join(part), &repository.path.join(part))?;
            }
            repository.git(&["add", "-A"])?;
            repository.git(&["commit", "-qm", "Begin"])?;
        }
        repository.git(&["checkout", "-q", "-B", "main"])?;
        repository.git(&["switch", "-q", "--detach"])?;
        Ok(repository)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes files into the working copy.
    pub fn write(&self, files: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, text) in files {
            let path = self.path.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&self.path))?;
            fs::write(path, text)?;
        }
        Ok(())
    }

    /// What a person's git prints.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&self.path, arguments)
    }

    /// A file of a branch or commit.
    pub fn show(&self, name: &str, path: &str) -> anyhow::Result<String> {
        self.git(&["show", &format!("{name}:{path}")])
    }

    /// The subjects of commits, newest first.
    pub fn subjects(&self, range: &str) -> anyhow::Result<Vec<String>> {
        Ok(self.git(&["log", "--format=%s", range])?.lines().map(str::to_owned).collect())
    }

    /// All files of the working copy and of its git directory but for objects.
    pub fn picture(&self) -> anyhow::Result<Picture> {
        let (mut folders, mut found) = (vec![self.path.clone()], Picture::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let (path, meta) = (entry.path(), entry.metadata()?);
                if path.ends_with(".git/objects") {
                    continue;
                }
                if meta.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.clone(), (fs::read(path)?, meta.modified()?));
                }
            }
        }
        Ok(found)
    }
}

fn run(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.org")])
        .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.org")])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "git {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to)?;
    Ok(())
}
