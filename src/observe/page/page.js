
"use strict";

// How often the daemon is asked, how long it may take to answer, and how old what is shown may be before it is greyed.
const EVERY = 1000, PATIENCE = 2000, STALE = 3;
const MOVES = 12;

let status = null, history = null, received = 0, moved = null;

const byId = (id) => document.getElementById(id);

// An element with these children; what is no element becomes text, whatever is in it.
function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

// Makes the children of `old` those of `made`, and keeps what is the same, so that a selection lasts.
function morph(old, made) {
  const next = [...made.childNodes];
  next.forEach((node, index) => {
    const there = old.childNodes[index];
    if (!there) {
      old.append(node);
    } else if (there.nodeType !== node.nodeType || there.nodeName !== node.nodeName) {
      there.replaceWith(node);
    } else if (node.nodeType === Node.TEXT_NODE) {
      if (there.data !== node.data) there.data = node.data;
    } else {
      if (there.className !== node.className) there.className = node.className;
      there.style.flexGrow = node.style.flexGrow;
      morph(there, node);
    }
  });
  while (old.childNodes.length > next.length) old.lastChild.remove();
}

function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return `${(s * 1000).toFixed(1)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  if (s < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (s < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole % 86400 / 3600)} h`;
}

// A time of day where the reader is.
function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

const ago = (age) => (age === null ? "not yet" : `${span(age)} ago`);

// The rows of a list of terms: [term, text, class]. Those without a text are left out.
function rows(list) {
  const out = make("dl");
  for (const [term, text, name] of list) {
    if (text) out.append(make("dt", "", term), make("dd", name || "", text));
  }
  return out;
}

function whereabouts(vip) {
  if (vip.held) return "";
  if (vip.follows === "none") {
    const heard = vip.peers.find((peer) => peer.priority > 0 && peer.version === 3 && peer.age !== null);
    return heard ? `${heard.address} advertises it` : "nobody is heard to advertise it";
  }
  if (vip.lock && vip.lock.holder && !vip.lock.mine) return `${vip.lock.holder} has its lock`;
  if (status.etcd && status.etcd.leader) return `${status.etcd.leader} has the leader key`;
  return hasAnswered() ? "nobody has its lock" : "etcd has not said yet";
}

// Before that, what etcd has is not known: not that there is nothing.
function hasAnswered() {
  return Boolean(status.etcd) && status.etcd.age !== null;
}

function lockText(lock, passed) {
  if (!lock) return "";
  const fence = lock.fence === "leader_key" ? "none: the leader key is the fence" : null;
  const holder = fence || (lock.mine ? "mine" : lock.holder ? `held by ${lock.holder}` : hasAnswered() ? "free" : "not known");
  if (lock.proof_age === null || lock.deadline_in === null) return holder;
  const left = span(lock.deadline_in - passed);
  return `${holder}, proved ${ago(lock.proof_age + passed)}, would leave within ${left} without a new proof`;
}

function peerText(peer, passed) {
  if (peer.age === null) return `${peer.address} has not been heard`;
  const version = peer.version === 2 ? ", version 2: not obeyed" : "";
  const other = peer.address_mismatch ? ", with other addresses" : "";
  return `${peer.address} priority ${peer.priority}, ${ago(peer.age + passed)}${other}${version}`;
}

function clientsText(clients, passed) {
  if (!clients) return "";
  const known = [];
  if (clients.connected !== null) known.push(`${clients.connected} connected`);
  if (clients.list) {
    known.push(`${clients.list.clients} known from ${clients.list.from} (${ago(clients.list.age + passed)})`);
  }
  return known.join("; ");
}

// What an operator should look at; the rest is in /metrics.
const TROUBLES = {
  advert_conflicts: "advert conflicts", arp_conflicts: "ARP conflicts", bind_refused: "binds refused", late: "late",
  locks_lost: "locks lost", split_brains: "split brains", send_errors: "send errors", repaired: "repaired",
  expelled: "expelled", address_list_errors: "other addresses heard", displaced: "foreign routers displaced",
};

function vipCard(vip, passed) {
  const named = vip.name === vip.address ? vip.addresses.join(", ") : `${vip.name}: ${vip.addresses.join(", ")}`;
  const counted = Object.entries(TROUBLES).filter(([key]) => vip.counters[key] > 0)
    .map(([key, words]) => `${words} ${vip.counters[key]}`).join(", ");
  const last = vip.moves[0];
  const since = last && (last.kind === "gained") === vip.held
    ? `since ${clock(new Date(Date.now() - (last.age + passed) * 1000))} (${span(last.age + passed)})` : "";
  const pill = make("span", vip.held ? "pill here" : "pill", vip.held ? "HERE" : "not here");
  const list = [
    ["phase", `${vip.phase} for ${span(vip.since + passed)}`],
    ["lock", lockText(vip.lock, passed)],
    ["VRRP", `${vip.router}, virtual router ${vip.virtual_router_id} on ${vip.interface}, priority ${vip.vrrp.priority}`],
    ...vip.peers.map((peer) => ["heard", peerText(peer, passed)]),
    ["clients", clientsText(vip.clients, passed)],
    ["counted", counted, "warn"],
  ];
  return make("section", "card",
    make("div", "place", make("h2", "", named), pill, make("span", "faint", whereabouts(vip)), make("span", "faint", since)),
    make("p", vip.reason === "split_brain" ? "why bad" : "why", vip.why), rows(list));
}

function evidence(passed) {
  const old = (age) => (age === null || age + passed > STALE ? "warn" : "");
  const list = [];
  const { etcd, postgres, failsafe } = status;
  if (etcd) {
    const leader = etcd.leader_is_me ? "the leader key is mine"
      : etcd.leader ? `${etcd.leader} holds the leader key` : "nobody holds the leader key";
    const text = etcd.age === null ? "has not answered yet" : `${leader} (${etcd.endpoint}, asked ${ago(etcd.age + passed)})`;
    list.push(["etcd", text, old(etcd.age)], ["etcd error", etcd.error, "bad"]);
    if (etcd.patroni) {
      const { ttl, loop_wait, retry_timeout, paused, failsafe_mode, standby_cluster } = etcd.patroni;
      const modes = [paused && "paused", failsafe_mode && "failsafe mode", standby_cluster && "standby cluster"];
      list.push(["Patroni", [`ttl/loop_wait/retry_timeout ${ttl}/${loop_wait}/${retry_timeout}`, ...modes.filter(Boolean)].join(", ")]);
    }
  }
  if (postgres) {
    const text = postgres.role === null ? "has not been asked yet"
      : `${postgres.role}: ${postgres.detail} (asked ${ago(postgres.age + passed)})`;
    list.push(["PostgreSQL", text, ["primary", "standby"].includes(postgres.role) ? old(postgres.age) : "warn"]);
  }
  if (failsafe) {
    const said = failsafe.error || (failsafe.active ? "active" : "not active");
    list.push(["failsafe", `${said} (${failsafe.url}, asked ${failsafe.age === null ? "not yet" : ago(failsafe.age + passed)})`]);
  }
  for (const { name, index, up, sources } of status.interfaces) {
    const state = index === null ? "does not exist" : up ? "up" : "down";
    list.push(["interface", [`${name} ${state}`, ...sources].join(", "), up ? "" : "warn"]);
  }
  const { refusal, refusal_age } = status.config;
  list.push(["config", refusal && `another was refused ${ago(refusal_age + passed)}: ${refusal}`, "warn"]);
  list.push(["clients", status.clients_trouble && `not known to other nodes: ${status.clients_trouble}`, "warn"]);
  return rows(list);
}

// The bar of a move that took less than a second is as much shorter than the whole line.
function moveItem(move) {
  const bar = make("div", "bar");
  for (const { name, took } of move.phases) {
    const part = make("i", ["lock", "promotion", "bind", "drain", "unbind"].includes(name) ? name : "");
    part.style.flexGrow = String(took);
    bar.append(part);
  }
  const phases = move.phases.map(({ name, took }) => `${name} ${span(took)}`).join(", ");
  const kind = move.kind === "gained" ? "came" : "left";
  return make("li", "", make("b", "", kind), " ", make("span", "when", clock(new Date(move.time))), make("div", "", move.reason),
    move.phases.length ? bar : null, make("span", "faint", phases));
}

function moves() {
  const out = make("div");
  const several = history.vips.length > 1;
  for (const { name, moves } of history.vips) {
    if (several) out.append(make("h3", "", name));
    const shown = moves.slice(-MOVES).reverse();
    out.append(shown.length ? make("ol", "", ...shown.map(moveItem)) : make("p", "faint", "has neither come nor left"));
  }
  return out;
}

function draw() {
  const passed = status ? (performance.now() - received) / 1000 : 0;
  const alarm = byId("alarm");
  const silent = status ? passed : performance.now() / 1000;
  const isStale = silent > STALE, isStuck = status && status.age >= 2;
  document.body.className = isStale || isStuck ? "stale" : "";
  byId("live").className = isStale || isStuck ? "dot dead" : status ? "dot live" : "dot";
  const since = status ? ` What is shown was true at ${clock(new Date(Date.now() - passed * 1000))}.` : "";
  const text = isStale ? `The daemon has not answered for ${span(silent)}.${since}`
    : isStuck ? `The protocol thread has not run for ${span(status.age)}; what it bound ends with its lifetime of 3 s.` : "";
  alarm.hidden = !text;
  if (alarm.textContent !== text) alarm.textContent = text;
  if (!status) return;
  document.title = `${status.vips.some((vip) => vip.held) ? "HERE" : "not here"}: ${status.node}`;
  byId("node").textContent = status.node;
  byId("about").textContent = `version ${status.version}, up ${span(status.uptime + passed)}`;
  morph(byId("vips"), make("div", "", ...status.vips.map((vip) => vipCard(vip, passed))));
  morph(byId("evidence"), evidence(passed));
  if (history) morph(byId("moves"), moves());
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function look() {
  try {
    const now = await ask("/status");
    status = now;
    received = performance.now();
    // Anew when something has moved, and when another process counts: it began at another time.
    const began = Math.round(status.taken + status.age - status.uptime);
    const count = [began, ...status.vips.map((vip) => vip.counters.gained + vip.counters.lost)].join();
    if (history === null || moved !== count) {
      history = await ask("/history");
      moved = count;
    }
  } catch (error) {
    // What is shown grows old, and says so.
  }
  draw();
  setTimeout(look, EVERY);
}

setInterval(draw, EVERY);
look();
