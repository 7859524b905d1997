//! Developer commands.

fn main() -> anyhow::Result<()> {
    lab::prerequisites::install(&mut |step| println!("{step}"))?;
    Ok(())
}
