//! `status`, `watch` and `history` beside a running daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::{HOSTILE_NAME, HOSTILE_NODE, PLAIN, SECOND, Stage, play, wait};

#[test]
fn status_is_in_colours_only_where_they_are_wanted() {
    play(|stage| {
        stage.start()?;
        wait(5 * SECOND, "PostgreSQL's words", || Ok(stage.status()?.contains("28000: ")))?;
        for (when, coloured) in [("auto", false), ("never", false), ("always", true)] {
            let text = stage.said(&["status", "--color", when])?;
            ensure!(text.contains('\u{1b}') == coloured, "{when}: {text}");
            // What PostgreSQL said in colours of its own is shown without.
            ensure!(text.contains("\u{fffd}[2J") && !text.contains("\u{1b}[2J"), "{when}: {text}");
        }
        let text = stage.status()?;
        println!("{text}");
        ensure!(text.contains("10.0.20.200/32 (plain): HERE, since 20"), "{text}");
        ensure!(text.contains("  where        etcd has not said yet; nobody is heard to advertise it"), "{text}");
        let coloured = on_a_terminal(stage, &["status"], &[("TERM", "xterm")])?;
        ensure!(coloured.contains("\u{1b}[1;32mHERE\u{1b}[0m"), "{coloured}");
        for plain in [[("TERM", "dumb"), ("A", "")], [("TERM", "xterm"), ("NO_COLOR", "1")]] {
            let text = on_a_terminal(stage, &["status"], &plain)?;
            ensure!(text.contains("HERE") && !text.contains('\u{1b}'), "{plain:?}: {text}");
        }
        Ok(())
    });
}

/// What is written to a terminal, which script(1) makes.
fn on_a_terminal(stage: &Stage, args: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let program = stage.program().get_program().to_string_lossy().into_owned();
    let line = format!("{program} {} --config {}", args.join(" "), stage.config().display());
    let mut command = stage.segment.namespace(0).command("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env_remove("NO_COLOR").envs(environment.iter().copied());
    let output = command.output().context("script(1) of util-linux")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn history_has_each_move_over_a_restart() {
    play(|stage| {
        stage.start()?;
        stage.said(&["drain", PLAIN])?;
        stage.said(&["undrain", PLAIN])?;
        wait(5 * SECOND, "it to be back", || Ok(stage.status()?.contains("(plain): HERE")))?;
        stage.stop()?;
        stage.start()?;
        let text = stage.said(&["history"])?;
        println!("{text}");
        let (_, plain) = text.split_once(&format!("{PLAIN} on ")).context("no VIP")?;
        let lines: Vec<_> = plain.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        let is_kind = |word: &&str| ["came", "left"].contains(word);
        let kinds: Vec<_> = lines.iter().filter_map(|line| line.split_whitespace().find(is_kind)).collect();
        ensure!(kinds == ["came", "left", "came", "left", "came"], "{text}");
        ensure!(lines[1].contains("drained by hand") && lines[1].contains("(unbind "), "{text}");
        ensure!(lines[3].contains("the daemon is stopping"), "the last word before the end: {text}");
        let other = format!("{HOSTILE_NAME} on {HOSTILE_NODE}\n  has neither come nor left");
        ensure!(text.contains(&other), "{text}");

        let json: Value = serde_json::from_str(&stage.said(&["history", "--json", "-n", "2"])?)?;
        let vips = json["vips"].as_array().context("no VIPs")?;
        let plain = vips.iter().find(|vip| vip["name"] == PLAIN).context("no such VIP")?;
        let moves = plain["moves"].as_array().context("no moves")?;
        ensure!(moves.len() == 2 && moves[0]["kind"] == "lost" && moves[1]["kind"] == "gained", "{json}");
        let age = |index: usize| moves[index]["age"].as_f64().unwrap_or(f64::MAX);
        ensure!(age(0) > age(1) && age(0) < 60.0, "{json}");
        ensure!(moves[0]["time"].as_str() < moves[1]["time"].as_str(), "{json}");
        let (_, body) = stage.get("/history")?;
        let all: Value = serde_json::from_str(&body)?;
        ensure!(all["vips"][0]["name"].is_string(), "{body}");

        // Killed, it has written what it knew, too; and a line that was torn costs that line.
        stage.kill();
        let path = stage.dir().join("run/history.jsonl");
        let written = fs::read(&path)?;
        fs::write(&path, &written[..written.len() - 20])?;
        stage.start()?;
        let text = stage.said(&["history"])?;
        ensure!(text.matches("  came  ").count() == 3 && text.matches("  left  ").count() == 2, "{text}");
        Ok(())
    });
}

#[test]
fn watch_tells_each_change_and_outlives_the_daemon() {
    play(|stage| {
        let mut command = stage.program();
        command.arg("watch").arg("--config").arg(stage.config()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut watch = command.spawn()?;
        let (told, lines) = std::sync::mpsc::channel();
        let out = BufReader::new(watch.stdout.take().context("no output")?);
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let mut seen = String::new();
        let mut until = |words: &str| -> Result<()> {
            loop {
                let line = lines.recv_timeout(10 * SECOND).with_context(|| format!("no {words:?} after\n{seen}"))?;
                seen += &format!("{line}\n");
                if line.contains(words) {
                    return Ok(());
                }
            }
        };
        until("no pgvrrp runs here with this runtime_dir")?;
        stage.start()?;
        until("the daemon answers again (process ")?;
        until("plain: HERE, active: ")?;
        stage.said(&["drain", PLAIN])?;
        until("plain: not here, closed: drained by hand")?;
        stage.signal(Signal::SIGSTOP)?;
        until("is it stopped?")?;
        stage.signal(Signal::SIGCONT)?;
        until("the daemon answers again")?;
        stage.kill();
        until("no pgvrrp runs here")?;
        println!("{seen}");
        kill(Pid::from_raw(watch.id() as i32), Signal::SIGINT)?;
        wait(5 * SECOND, "the end of it", || Ok(watch.try_wait()?.is_some()))?;
        let mut complaints = String::new();
        watch.stderr.take().context("no errors")?.read_to_string(&mut complaints)?;
        ensure!(complaints.is_empty(), "{complaints}");
        ensure!(seen.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{seen}");
        Ok(())
    });
}

/// Even if nothing is to be said any more.
#[test]
fn watch_ends_with_its_reader() {
    play(|stage| {
        stage.start()?;
        let mut command = stage.program();
        command.arg("watch").arg("--config").arg(stage.config()).stdout(Stdio::piped());
        let mut watch = command.spawn()?;
        let mut out = BufReader::new(watch.stdout.take().context("no output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        ensure!(line.contains("Z "), "{line}");
        drop(out);
        wait(5 * SECOND, "the end of it", || Ok(watch.try_wait()?.is_some()))?;
        ensure!(watch.wait()?.success(), "{:?}", watch.wait());
        Ok(())
    });
}

#[test]
fn watch_draws_on_a_terminal() {
    play(|stage| {
        stage.start()?;
        let program = stage.program().get_program().to_string_lossy().into_owned();
        // It ends with the signal of timeout(1), as with Ctrl-C.
        let line = format!("timeout --signal=INT 5 {program} watch --config {}", stage.config().display());
        let mut command = stage.segment.namespace(0).command("script");
        command.args(["--quiet", "--command", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        let drawn = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
        let frames = drawn.matches("\u{1b}[H").count();
        ensure!((2..=6).contains(&frames) && drawn.contains("\u{1b}[1;32mHERE"), "{frames}: {drawn}");
        Ok(())
    });
}

/// One that knows none of these answers everything with its status, for people.
#[test]
fn an_older_daemon_is_told_apart() {
    play(|stage| {
        let run = stage.dir().join("run");
        fs::create_dir_all(&run)?;
        let listener = UnixListener::bind(run.join("control.sock"))?;
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.read(&mut [0]);
                let _ = stream.write_all(b"pgvrrp 0.1.0 on db1, up 3 min 2 s\n");
            }
        });
        let (code, out, err) = stage.run(&["history"])?;
        ensure!((code, out.as_str()) == (Some(69), "") && err.contains("keeps no history"), "{code:?} {out} {err}");
        let text = stage.said(&["status", "--color", "always"])?;
        ensure!(text == "pgvrrp 0.1.0 on db1, up 3 min 2 s\n", "{text}");
        Ok(())
    });
}
