//! The page, as a browser shows it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use lab::Browser;
use nix::sys::signal::Signal;

use crate::stage::{HOSTILE_ANSWER, HOSTILE_NAME, HOSTILE_NODE, PLAIN, SECOND, Stage, play};

fn browser(stage: &Stage) -> Result<Browser> {
    let mut browser = Browser::start(stage.segment.namespace(0), &stage.dir())?;
    browser.open(&Stage::url())?;
    Ok(browser)
}

/// Keeps a picture for whoever wants to look.
fn keep(browser: &mut Browser, name: &str, width: u32, dark: bool) -> Result<()> {
    let picture = browser.picture(width, dark)?;
    ensure!(picture.starts_with(b"\x89PNG"), "no picture");
    if let Some(dir) = std::env::var_os("PGVRRP_PICTURES") {
        fs::write(PathBuf::from(dir).join(name), picture)?;
    }
    Ok(())
}

#[test]
fn it_says_where_each_vip_is_and_goes_on_over_a_restart() {
    play(|stage| {
        stage.start()?;
        let mut page = browser(stage)?;
        for words in ["HERE", "10.0.20.200/32", "not here", "etcd has not answered yet", "came"] {
            page.wait_text(words, 5 * SECOND)?;
        }
        let text = page.text()?;
        ensure!(text.contains("virtual router 200 on eth0") && text.contains("eth0 up, 10.0.20.11"), "{text}");

        stage.said(&["drain", PLAIN])?;
        page.wait_text("drained by hand", 5 * SECOND)?;
        page.wait_text("left", 5 * SECOND)?;
        ensure!(page.evaluate("document.querySelectorAll('.pill.here').length")? == 0, "nothing is here");
        ensure!(page.evaluate("document.title")?.as_str().is_some_and(|title| title.starts_with("not here")), "title");

        // Another process, with what the former has left.
        stage.stop()?;
        stage.start()?;
        page.wait_text("HERE", 10 * SECOND)?;
        let came = "[...document.querySelectorAll('li b')].map((b) => b.textContent).join()";
        let moves = page.evaluate(came)?;
        ensure!(moves == "came,left,came", "{moves}");
        ensure!(page.complaints().is_empty(), "{:?}", page.complaints());
        Ok(())
    });
}

#[test]
fn what_it_shows_of_a_silent_daemon_is_grey_and_has_an_age() {
    play(|stage| {
        stage.start()?;
        let mut page = browser(stage)?;
        page.wait_text("HERE", 5 * SECOND)?;
        ensure!(page.evaluate("document.body.className")? == "", "it is fresh");
        stage.signal(Signal::SIGSTOP)?;
        page.wait_text("The daemon has not answered for", 10 * SECOND)?;
        ensure!(page.evaluate("document.body.className")? == "stale", "it is grey");
        page.wait_text("What is shown was true at 20", SECOND)?;
        let grey = page.evaluate("getComputedStyle(document.querySelector('main')).filter")?;
        ensure!(grey == "grayscale(1)", "{grey}");
        keep(&mut page, "silent.png", 900, false)?;
        stage.signal(Signal::SIGCONT)?;
        let is_fresh = "document.body.className === '' && document.getElementById('alarm').hidden";
        crate::stage::wait(10 * SECOND, "the page to go on", || Ok(page.evaluate(is_fresh)? == true))?;
        stage.kill();
        page.wait_text("The daemon has not answered for", 10 * SECOND)?;
        ensure!(page.complaints().is_empty(), "{:?}", page.complaints());
        Ok(())
    });
}

#[test]
fn what_others_write_is_text() {
    play(|stage| {
        stage.start()?;
        let mut page = browser(stage)?;
        let answer = HOSTILE_ANSWER.split('\u{1b}').next().unwrap_or_default();
        for words in [HOSTILE_NODE, HOSTILE_NAME, answer] {
            page.wait_text(words, 5 * SECOND)?;
        }
        let made = page.evaluate("document.querySelectorAll('body img, body svg, body script').length")?;
        ensure!(made == 1, "{made} elements beside the page's own script");
        ensure!(!page.text()?.starts_with("pwned") && page.evaluate("document.title")? != "pwned", "it ran");
        ensure!(page.complaints().is_empty(), "{:?}", page.complaints());

        // And if it had not been taken for text, the policy would not have let it run.
        let try_to =
            |what: &str| format!("(() => {{ try {{ {what}; return 'done'; }} catch (e) {{ return e.name; }} }})()");
        for what in ["document.body.innerHTML = '<b>x</b>'", "document.write('x')", "eval('1')"] {
            let outcome = page.evaluate(&try_to(what))?;
            ensure!(outcome != "done", "{what}: {outcome}");
        }
        let elsewhere = "fetch('http://10.0.20.11:9155/status').then(() => 'read', (error) => error.name)";
        ensure!(page.evaluate(elsewhere)? == "TypeError", "another origin was asked");
        ensure!(
            page.complaints().iter().any(|told| told.contains("Content Security Policy")),
            "{:?}",
            page.complaints()
        );
        Ok(())
    });
}

#[test]
fn it_can_be_read_on_a_phone_and_in_the_dark() {
    play(|stage| {
        stage.start()?;
        let mut page = browser(stage)?;
        page.wait_text("HERE", 5 * SECOND)?;
        page.wait_text("came", 5 * SECOND)?;
        let colour = "getComputedStyle(document.body).backgroundColor";
        keep(&mut page, "phone.png", 360, true)?;
        let dark = page.evaluate(colour)?;
        ensure!(page.evaluate("document.documentElement.scrollWidth")? == 360, "it is wider than the phone");
        keep(&mut page, "page.png", 900, false)?;
        ensure!(page.evaluate(colour)? != dark, "{dark} in the light as well");
        Ok(())
    });
}
