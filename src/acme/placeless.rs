//! Specs without their places in the file: a comment above a table moves it, and changes nothing of what it wants.

use crate::config::{AcmeSpec, CaSpec, ChallengeSpec, DnsSpec, ExportSpec, Located, Span};

/// What can forget where it was written.
pub trait Placeless {
    /// Forgets it, in place.
    fn forget_place(&mut self);
}

impl<T> Placeless for Located<T> {
    fn forget_place(&mut self) {
        self.span = Span::default();
        self.line = 0;
    }
}

impl<T: Placeless> Placeless for Option<T> {
    fn forget_place(&mut self) {
        self.iter_mut().for_each(T::forget_place);
    }
}

impl<T: Placeless> Placeless for Vec<T> {
    fn forget_place(&mut self) {
        self.iter_mut().for_each(T::forget_place);
    }
}

impl Placeless for AcmeSpec {
    fn forget_place(&mut self) {
        // Every field by name, so that a new key does not compile until it is thought of here.
        let AcmeSpec { names, challenge, ca, email, renew_days, key_type: _ } = self;
        names.forget_place();
        if let ChallengeSpec::Dns(dns) = challenge {
            dns.forget_place();
        }
        ca.forget_place();
        email.forget_place();
        renew_days.forget_place();
    }
}

impl Placeless for DnsSpec {
    fn forget_place(&mut self) {
        let DnsSpec { provider, token_file, api, zone, server, key, key_file, algorithm, command, propagation } = self;
        for text in [Some(provider), api.as_mut(), server.as_mut(), key.as_mut(), algorithm.as_mut()] {
            text.into_iter().for_each(Placeless::forget_place);
        }
        token_file.forget_place();
        key_file.forget_place();
        zone.forget_place();
        command.forget_place();
        propagation.forget_place();
    }
}

impl Placeless for CaSpec {
    fn forget_place(&mut self) {
        let CaSpec { directory, ca, eab_kid, eab_key_file, profile } = self;
        directory.forget_place();
        ca.forget_place();
        eab_kid.forget_place();
        eab_key_file.forget_place();
        profile.forget_place();
    }
}

impl Placeless for ExportSpec {
    fn forget_place(&mut self) {
        let ExportSpec { dir, cert, key, mode: _, owner, group, in_place: _, command, probe } = self;
        dir.forget_place();
        for text in [cert, key] {
            text.forget_place();
        }
        for text in [owner, group, probe] {
            text.forget_place();
        }
        command.forget_place();
    }
}
