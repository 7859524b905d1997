//! The run as a picture: who had what, and when, one lane below the other, one strip of time below the other.

use std::fmt::Write;
use std::time::Duration;

use lab::history::{Observation, Role};
use lab::patroni::LEADER_KEY;
use lab::probe::OWN_PREFIX;
use lab::{Node, Time};

use super::judge::Case;
use super::stage::Deed;

/// Pixels per second of the run, and what lanes measure.
const SCALE: f64 = 6.0;
const LEFT: f64 = 130.0;
const TOP: f64 = 32.0;
const LANE: f64 = 22.0;
const BAR: f64 = 14.0;
/// As much of the run as is seen at once.
const STRIP: Duration = Duration::from_secs(240);
/// Faults that overlap are drawn below one another, so many at once.
const FAULT_LANES: usize = 8;

/// A bar of a lane.
struct Bar {
    from: Time,
    to: Time,
    colour: &'static str,
    says: String,
}

/// Draws it as SVG; each bar says what it is when the pointer is on it.
pub(crate) fn draw(case: &Case<'_>, deeds: &[Deed], begun: Time, title: &str) -> String {
    let mut lanes: Vec<(String, Vec<Bar>)> = Vec::new();
    for node in Node::DATABASES {
        lanes.push((format!("VIP on {node}"), vip(case, node)));
    }
    lanes.push(("leader key".to_owned(), owners(case, LEADER_KEY)));
    lanes.push(("pgvrrp's lock".to_owned(), owners(case, OWN_PREFIX)));
    for node in Node::DATABASES {
        lanes.push((format!("PostgreSQL {node}"), roles(case, node)));
    }
    for node in Node::DATABASES {
        lanes.push((format!("pgvrrp {node}"), outages(case, node)));
    }
    lanes.push(("writes".to_owned(), writes(case)));
    let names = std::iter::once("faults").chain(std::iter::repeat(""));
    lanes.extend(names.map(str::to_owned).zip(faults(deeds, case.last())));
    render(&lanes, begun, case.last(), title)
}

fn vip(case: &Case<'_>, node: Node) -> Vec<Bar> {
    let holdings = case.analysis.holdings().into_iter().filter(|holding| holding.node == node);
    let bar = |holding: lab::analysis::Holding| Bar {
        from: holding.from,
        to: holding.to.unwrap_or_else(|| case.last()),
        colour: colour(node),
        says: format!("VIP on {node}"),
    };
    holdings.map(bar).collect()
}

fn owners(case: &Case<'_>, prefix: &str) -> Vec<Bar> {
    let bar = |owner: super::judge::Ownership| Bar {
        from: owner.from,
        to: owner.to,
        colour: colour(owner.node),
        says: owner.node.to_string(),
    };
    case.owners(prefix).into_iter().map(bar).collect()
}

fn roles(case: &Case<'_>, node: Node) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for event in case.analysis.events() {
        let Observation::Role { node: whose, role, .. } = event.what else { continue };
        if whose != node {
            continue;
        }
        if let Some(last) = bars.last_mut() {
            last.to = event.at;
        }
        let colour = match role {
            Role::Primary => colour(node),
            Role::Standby => "#c8d3dc",
            Role::Down => "#3c4650",
            Role::Silent => "#a679c0",
        };
        bars.push(Bar { from: event.at, to: case.last(), colour, says: role.to_string() });
    }
    bars
}

fn outages(case: &Case<'_>, node: Node) -> Vec<Bar> {
    let bar = |outage: &super::judge::Outage| Bar {
        from: outage.from,
        to: outage.to.unwrap_or_else(|| case.last()),
        colour: "#3c4650",
        says: "does not run".to_owned(),
    };
    case.outages.iter().filter(|outage| outage.node == node).map(bar).collect()
}

/// Successes that follow one another are one bar.
fn writes(case: &Case<'_>) -> Vec<Bar> {
    const TOGETHER: Duration = Duration::from_millis(200);
    let mut bars: Vec<Bar> = Vec::new();
    for (at, attempt) in case.analysis.writes() {
        let (colour, says) = match &attempt.error {
            None => ("#4c9f70", "acknowledged".to_owned()),
            Some(error) => ("#d1495b", error.clone()),
        };
        match bars.last_mut() {
            Some(last) if last.colour == colour && at.since(last.to) < TOGETHER => last.to = last.to.max(at),
            _ => bars.push(Bar { from: attempt.started, to: at, colour, says }),
        }
    }
    bars
}

/// In as few lanes as they fit into.
fn faults(deeds: &[Deed], last: Time) -> Vec<Vec<Bar>> {
    let mut lanes: Vec<Vec<Bar>> = Vec::new();
    for deed in deeds {
        let to = deed.to.unwrap_or(deed.from).min(last);
        let says = format!("{} {}", deed.kind, deed.whom);
        let bar = Bar { from: deed.from, to, colour: "#e09f3e", says };
        let free = |lane: &Vec<Bar>| lane.last().is_none_or(|before| before.to < deed.from);
        match lanes.iter().position(free) {
            Some(lane) => lanes[lane].push(bar),
            None if lanes.len() < FAULT_LANES => lanes.push(vec![bar]),
            // More at once than there are lanes for: better one upon the other than left out.
            None => lanes[FAULT_LANES - 1].push(bar),
        }
    }
    lanes
}

const fn colour(node: Node) -> &'static str {
    match node {
        Node::Db1 => "#2f6690",
        _ => "#d08c60",
    }
}

fn render(lanes: &[(String, Vec<Bar>)], begun: Time, last: Time, title: &str) -> String {
    let height = 40.0 + lanes.len() as f64 * LANE;
    let strips = last.since(begun).as_secs() / STRIP.as_secs() + 1;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"16\" font-size=\"13\">{}</text>\n",
        LEFT + STRIP.as_secs_f64() * SCALE + 20.0,
        TOP + strips as f64 * height,
        escaped(title),
    );
    for strip in 0..strips {
        let from = begun.plus(STRIP * strip as u32);
        draw_strip(&mut svg, lanes, begun, (from, from.plus(STRIP).min(last)), TOP + strip as f64 * height);
    }
    svg + "</svg>\n"
}

/// All lanes between two moments, from this height on.
fn draw_strip(svg: &mut String, lanes: &[(String, Vec<Bar>)], begun: Time, (start, end): (Time, Time), top: f64) {
    let x = |at: Time| LEFT + at.since(start).as_secs_f64() * SCALE;
    let bottom = top + lanes.len() as f64 * LANE;
    // Writing to a String cannot fail.
    for second in (0..=end.since(start).as_secs()).step_by(10) {
        let at = LEFT + second as f64 * SCALE;
        let since = start.since(begun).as_secs() + second;
        let _ = writeln!(svg, "<path d=\"M{at:.1} {:.0}V{bottom:.0}\" stroke=\"#e4e8eb\"/>", top - 4.0);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.0}\" fill=\"#68737d\">{since} s</text>", bottom + 14.0);
    }
    for (i, (name, bars)) in lanes.iter().enumerate() {
        let y = top + i as f64 * LANE;
        let _ = writeln!(svg, "<text x=\"8\" y=\"{:.1}\">{}</text>", y + 11.0, escaped(name));
        for bar in bars.iter().filter(|bar| bar.to >= start && bar.from <= end) {
            let (from, to) = (x(bar.from.max(start)), x(bar.to.min(end)));
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.2}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{BAR}\" fill=\"{}\"><title>{}: {:.3} to {:.3} s\
                 </title></rect>",
                (to - from).max(0.6),
                bar.colour,
                escaped(&bar.says),
                bar.from.millis_after(begun) / 1000.0,
                bar.to.millis_after(begun) / 1000.0,
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
