//! Numbered outcomes with a label for metrics and a sentence for operators: one list each, from which all follows.

/// An enum from a list of documented names with their labels; with `method: Kind`, each names one of `Kind` too.
macro_rules! labelled {
    ($(#[$attr:meta])* $list:ident { $($(#[doc = $doc:literal])* $name:ident $label:literal;)* }) => {
        $(#[$attr])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $list { $($(#[doc = $doc])* $name,)* }

        impl $list {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The metric's label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// One sentence for an operator.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*),)* }
            }
        }
    };
    (
        $(#[$attr:meta])* $list:ident, $(#[$about:meta])* $method:ident: $kind:ident
        { $($(#[doc = $doc:literal])* $name:ident $label:literal $of:ident;)* }
    ) => {
        labelled! { $(#[$attr])* $list { $($(#[doc = $doc])* $name $label;)* } }

        impl $list {
            $(#[$about])*
            #[inline(always)]
            pub const fn $method(self) -> $kind {
                match self { $(Self::$name => $kind::$of,)* }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{counter::PinEvent, decap::Outcome, probe::ProbeEvent, reason::Reason};

    fn check(list: impl Iterator<Item = (u32, &'static str, &'static str)>) {
        let all: std::vec::Vec<_> = list.collect();
        for (i, (number, label, sentence)) in all.iter().enumerate() {
            assert_eq!(*number as usize, i);
            assert!(!all[..i].iter().any(|(_, other, _)| other == label), "{label} twice");
            assert!(sentence.starts_with(' '), "{label} has no sentence");
        }
    }

    #[test]
    fn numbers_are_dense_and_labels_unique() {
        check(Reason::ALL.iter().map(|x| (*x as u32, x.as_str(), x.describe())));
        check(PinEvent::ALL.iter().map(|x| (*x as u32, x.as_str(), x.describe())));
        check(ProbeEvent::ALL.iter().map(|x| (*x as u32, x.as_str(), x.describe())));
        check(Outcome::ALL.iter().map(|x| (*x as u32, x.as_str(), x.describe())));
    }
}
