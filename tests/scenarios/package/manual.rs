//! What the package brings for people: manual pages, and completions.

use anyhow::{Result, ensure};

use super::installed::Installed;

pub(super) fn renders_and_completes(here: &Installed<'_>) -> Result<()> {
    for (page, what) in [("pgvrrp", "handover"), ("pgvrrp.toml", "virtual_router_id"), ("pgvrrp-reload", "--config")] {
        let text = here.succeed(&format!("man {page} 2>&1"))?;
        ensure!(text.contains(what), "`man {page}` does not speak of {what}:\n{text}");
    }
    // Whatever groff has to say of any page.
    let pages = here.succeed("dpkg --listfiles pgvrrp | grep /man/man./")?;
    ensure!(pages.lines().count() > 10, "{pages}");
    for page in pages.lines() {
        let warnings =
            here.succeed(&format!("LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings --local-file {page} 2>&1 >/dev/null"))?;
        ensure!(warnings.is_empty(), "{page}: {warnings}");
    }
    let found = here.succeed("man --whatis pgvrrp pgvrrp.toml")?;
    ensure!(found.contains("pgvrrp (1)") && found.contains("pgvrrp.toml (5)"), "{found}");

    for (words, expected) in [("pgvrrp rel", "reload"), ("pgvrrp run --obs", "--observe")] {
        let script = format!(
            ". /usr/share/bash-completion/completions/pgvrrp; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _pgvrrp pgvrrp \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let proposed = here.machine.succeed(&["bash", "-c", &script])?;
        ensure!(proposed.split_whitespace().any(|word| word == expected), "{words}: {proposed}");
    }
    Ok(())
}
