//! `[hooks]`, and the same keys in a `[[vip]]`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use crate::diagnose::{Report, Reported};
use crate::model::Hooks;
use crate::raw::Section;
use crate::schema;

const EXAMPLE: &str = "[\"/etc/pgvrrp/notify\"]";

/// Keepalived has none; a hook that hangs keeps the next one of its VIP waiting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What `[hooks]` says: for every VIP, and how long a hook may take.
pub(super) fn read_all(top: &Section<'_>, report: &mut Report) -> Result<(Hooks, Duration), Reported> {
    let section = top.section("hooks", &schema::HOOKS, report)?;
    let hooks = read(&section, &Hooks::default(), report);
    let range = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = section.duration("timeout", TIMEOUT, &range, report);
    Ok((hooks?, timeout?))
}

/// The commands of a table; those that it does not name are as in `otherwise`.
pub(super) fn read(section: &Section<'_>, otherwise: &Hooks, report: &mut Report) -> Result<Hooks, Reported> {
    let on_active = command(section, "on_active", &otherwise.on_active, report);
    let on_backup = command(section, "on_backup", &otherwise.on_backup, report);
    let on_fault = command(section, "on_fault", &otherwise.on_fault, report);
    let on_stop = command(section, "on_stop", &otherwise.on_stop, report);
    let on_change = command(section, "on_change", &otherwise.on_change, report);
    Ok(Hooks {
        on_active: on_active?,
        on_backup: on_backup?,
        on_fault: on_fault?,
        on_stop: on_stop?,
        on_change: on_change?,
    })
}

fn command(
    section: &Section<'_>,
    key: &str,
    otherwise: &[String],
    report: &mut Report,
) -> Result<Vec<String>, Reported> {
    section.told_of(key)?;
    let Some(words) = section.texts(key, EXAMPLE, report)? else { return Ok(otherwise.to_vec()) };
    let words = words.into_inner();
    if let Some(wrong) = words.iter().find(|word| word.get_ref().contains('\0')) {
        let help = "no program can be given one";
        return Err(report.add(wrong.span(), format!("{key} must not hold a null character"), help));
    }
    if let Some(program) = words.first() {
        check(key, program, report)?;
    }
    Ok(words.into_iter().map(|word| word.into_inner().to_owned()).collect())
}

/// What is run with the daemon's knowledge of the cluster has to be what its operator has put there.
fn check(key: &str, program: &Spanned<&str>, report: &mut Report) -> Result<(), Reported> {
    let path = Path::new(*program.get_ref());
    let shown = path.display();
    let (problem, help) = match fs::metadata(path) {
        _ if !path.is_absolute() => {
            let help = format!("write {key} = {EXAMPLE}: a hook is run without a shell, and in the root directory");
            return Err(report.add(program.span(), format!("{key} must begin with an absolute path"), help));
        }
        Err(error) => (
            format!("cannot be run: {error}"),
            "it must be a program that the user who runs pgvrrp may execute".to_owned(),
        ),
        Ok(metadata) if metadata.is_dir() => ("is a directory".to_owned(), "name the program in it".to_owned()),
        Ok(metadata) if !metadata.is_file() => ("is not a regular file".to_owned(), "name a program".to_owned()),
        Ok(metadata) => match metadata.permissions().mode() {
            mode if mode & 0o111 == 0 => ("is not executable".to_owned(), format!("chmod 755 {shown}")),
            mode if mode & 0o002 != 0 => ("can be changed by every user".to_owned(), format!("chmod o-w {shown}")),
            _ if is_open(path.parent()) => {
                let help = "put it into one that only root may write to".to_owned();
                ("is in a directory where every user can replace it".to_owned(), help)
            }
            _ => return Ok(()),
        },
    };
    Err(report.add(program.span(), format!("{shown} {problem}"), help))
}

/// Whether everybody may write to a directory, and remove what is another's.
fn is_open(directory: Option<&Path>) -> bool {
    let mode = directory.and_then(|path| fs::metadata(path).ok()).map(|metadata| metadata.permissions().mode());
    mode.is_some_and(|mode| mode & 0o1002 == 0o002)
}
