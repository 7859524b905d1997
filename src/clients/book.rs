//! What was heard of the VIPs' clients from those that held them.

use std::net::IpAddr;
use std::sync::Arc;

use vrrp::time::Instant;

use super::message::{Header, Part, Refusal};
use super::{Client, MOST};
use crate::node::io::ReceivedList;

/// The last list of each VIP's clients.
#[derive(Debug, Default)]
pub struct Book {
    pages: Vec<Page>,
}

/// What is known of one VIP.
#[derive(Debug, Default)]
struct Page {
    /// The VIP's.
    addresses: Vec<IpAddr>,
    /// The last whole list.
    list: Option<List>,
    /// The next one, of which some parts are still to come.
    next: Option<Draft>,
    /// Whole lists heard.
    received: u64,
}

#[derive(Debug)]
struct List {
    header: Header,
    from: String,
    at: Instant,
    clients: Arc<[Client]>,
}

#[derive(Debug)]
struct Draft {
    header: Header,
    here: Vec<bool>,
    clients: Vec<Client>,
}

impl Book {
    /// An empty one, for VIPs with these addresses.
    pub fn new(vips: impl IntoIterator<Item = Vec<IpAddr>>) -> Self {
        let mut book = Self::default();
        book.serve(&vips.into_iter().collect::<Vec<_>>());
        book
    }

    /// The VIPs' addresses are these from now on. What was heard of others is forgotten.
    pub fn serve(&mut self, vips: &[Vec<IpAddr>]) {
        self.pages.resize_with(vips.len(), Page::default);
        for (page, addresses) in self.pages.iter_mut().zip(vips) {
            if page.addresses != *addresses {
                *page = Page { addresses: addresses.clone(), received: page.received, ..Page::default() };
            }
        }
    }

    /// Takes a part of a list of the VIP at this position from its holder, whose word it is known to be. A list replaces the
    /// one before when all of it is there, whoever sent that.
    ///
    /// # Errors
    /// If it is older than what is here, or not of this VIP.
    pub fn take(&mut self, vip: usize, from: &str, part: Part, now: Instant) -> Result<(), Refusal> {
        let page = self.pages.get_mut(vip).ok_or(Refusal::OtherAddress)?;
        if !part.clients.iter().all(|client| page.addresses.contains(&client.local.ip())) {
            return Err(Refusal::OtherAddress);
        }
        let header = part.header;
        let is_old = |known: Header| known.revision == header.revision && known.number > header.number;
        if page.list.as_ref().is_some_and(|list| is_old(list.header) || list.header == header)
            || page.next.as_ref().is_some_and(|draft| is_old(draft.header))
        {
            return Err(Refusal::Old);
        }
        let mut draft = page.next.take().filter(|draft| draft.header == header).unwrap_or_else(|| Draft {
            header,
            here: vec![false; usize::from(part.parts)],
            clients: Vec::new(),
        });
        match draft.here.get_mut(usize::from(part.part)) {
            Some(here @ false) => {
                *here = true;
                let room = MOST.saturating_sub(draft.clients.len());
                draft.clients.extend(part.clients.into_iter().take(room));
            }
            Some(true) => {}
            None => return Err(Refusal::Malformed),
        }
        if draft.here.iter().all(|here| *here) {
            page.received += 1;
            page.list = Some(List { header, from: from.to_owned(), at: now, clients: draft.clients.into() });
        } else {
            page.next = Some(draft);
        }
        Ok(())
    }

    /// The clients of a VIP's former holders that are still to be told: those of the last whole list, and those of a newer one
    /// of which not all has come.
    pub fn heirloom(&self, vip: usize) -> Arc<[Client]> {
        let Some(page) = self.pages.get(vip) else { return Arc::new([]) };
        let list = page.list.as_ref().map(|list| list.clients.clone());
        match (list, &page.next) {
            (Some(list), None) => list,
            (list, next) => {
                let old = list.iter().flat_map(|list| list.iter());
                let new = next.iter().flat_map(|draft| &draft.clients);
                let mut all: Vec<_> = new.chain(old).copied().collect();
                let mut seen = std::collections::HashSet::new();
                all.retain(|client| seen.insert(*client));
                all.into()
            }
        }
    }

    /// All of a VIP's have been told.
    pub fn told(&mut self, vip: usize) {
        if let Some(page) = self.pages.get_mut(vip) {
            (page.list, page.next) = (None, None);
        }
    }

    /// Whole lists heard of a VIP, and the last one that has not been told yet.
    pub fn received(&self, vip: usize) -> (u64, Option<ReceivedList>) {
        let Some(page) = self.pages.get(vip) else { return (0, None) };
        let list = page.list.as_ref().map(|list| ReceivedList {
            from: list.from.clone(),
            clients: list.clients.len() as u64,
            at: list.at,
        });
        (page.received, list)
    }
}
