//! The macro that the table of operations (`operations`) calls. From each line
//!
//! ```text
//! #[counted = "name in reports"]
//! #[callers(Role, ..)]
//! fn method(argument: Form, ..) -> Answer where |answer| check;
//! ```
//!
//! it makes the method of the trait, a variant of [`HsmRequest`] and [`HsmAnswer`] as they are received, one of
//! [`HsmRequestRef`] as it is sent, the method of [`HsmClient`](super::HsmClient), and the arm of the host that calls
//! the method. `callers` lists the roles whose connections may send it. Forms of an argument: `&T` is passed by reference and received as `T`; `[T]` as a slice and `Vec<T>`;
//! `@u8` as `&[u8]` and bytes that are wiped; `T` by value. The check compares an answer with its request: an answer
//! that fails it belongs to another request.
//!
//! An operation that a device does not implement returns [`HsmError::Unsupported`](super::HsmError::Unsupported): no device
//! has a bureau's side and an issuer's.
//!
//! Requests are sent from borrowed values, so that nothing is copied before it is encoded; a test in `wire` checks
//! that both forms encode alike.
//!
//! [`HsmRequest`]: super::operations::HsmRequest
//! [`HsmRequestRef`]: super::operations::HsmRequestRef
//! [`HsmAnswer`]: super::operations::HsmAnswer

pub(super) use crate::wiped::SentBytes;
use crate::wiped::WipedBytes;

/// An element of a `@` argument, which is always a byte: how it is sent and received.
pub(super) trait WireByte {
    /// Borrowed, on its way out.
    type Sent<'a>;
    /// Owned, as it arrives.
    type Received;
}

impl WireByte for u8 {
    type Sent<'a> = SentBytes<'a>;
    type Received = WipedBytes;
}

/// `&argument`; the first word says which repetition of the table this is in.
macro_rules! by_reference {
    ($_form:ident $argument:ident) => {
        &$argument
    };
}

/// `argument`; the first word is as for `by_reference`.
macro_rules! by_value {
    ($_form:ident $argument:ident) => {
        $argument
    };
}

/// Bytes to be sent; the first word is as for `by_reference`.
macro_rules! sent_bytes {
    ($_form:ident $argument:ident) => {
        SentBytes($argument)
    };
}

/// Expands the table of operations as the head of this file describes.
macro_rules! hsm_operations {
    ($(
        $(#[doc = $side_doc:expr])*
        trait $Side:ident {
            $(
                $(#[doc = $doc:expr])*
                #[counted = $counted:literal]
                #[callers($($Role:ident),+)]
                fn $method:ident(
                    $(
                        $argument:ident :
                        $(& $Ref:ident)? $([$Slice:ident])? $(@ $Byte:ident)? $($Value:ident)?
                    ),*
                ) -> $Answer:ty $(where |$answer:ident| $check:expr)? ;
            )*
        }
    )*) => {
        $(
            $(#[doc = $side_doc])*
            pub trait $Side: Send {
                $(
                    $(#[doc = $doc])*
                    #[allow(unused_variables, reason = "the default body carries nothing out")]
                    fn $method(
                        &mut self,
                        $($argument: $(&$Ref)? $(&[$Slice])? $(&[$Byte])? $($Value)?),*
                    ) -> Result<$Answer, HsmError> {
                        Err(HsmError::Unsupported(format!("`{}` with this key store", $counted)))
                    }
                )*
            }
        )*

        /// A request as the host receives it.
        #[derive(Deserialize)]
        #[allow(non_camel_case_types, reason = "a message has the name of its method")]
        pub(super) enum HsmRequest {
            $($(
                $method($($($Ref)? $(Vec<$Slice>)? $(<$Byte as WireByte>::Received)? $($Value)?),*),
            )*)*
        }

        impl HsmRequest {
            /// The roles whose connections may send it.
            pub(super) fn callers(&self) -> &'static [CallerRole] {
                match self {
                    $($(Self::$method(..) => &[$(CallerRole::$Role),+],)*)*
                }
            }
        }

        /// A request as the client sends it. The two encode alike.
        #[derive(Serialize)]
        #[allow(non_camel_case_types, reason = "a message has the name of its method")]
        pub(super) enum HsmRequestRef<'a> {
            $($(
                $method($($(&'a $Ref)? $(&'a [$Slice])? $(<$Byte as WireByte>::Sent<'a>)? $($Value)?),*),
            )*)*
        }

        impl HsmRequestRef<'_> {
            /// Its name in reports.
            pub(super) fn counted(&self) -> &'static str {
                match self {
                    $($(Self::$method(..) => $counted,)*)*
                }
            }
        }

        /// An answer of the host.
        #[derive(Serialize, Deserialize)]
        #[allow(non_camel_case_types, reason = "an answer has the name of its method")]
        pub(super) enum HsmAnswer {
            $($($method($Answer),)*)*
        }

        $(
            impl $Side for HsmClient {
                $(
                    fn $method(
                        &mut self,
                        $($argument: $(&$Ref)? $(&[$Slice])? $(&[$Byte])? $($Value)?),*
                    ) -> Result<$Answer, HsmError> {
                        let request = HsmRequestRef::$method($(
                            $(by_value!($Ref $argument))?
                            $(by_value!($Slice $argument))?
                            $(sent_bytes!($Byte $argument))?
                            $(by_value!($Value $argument))?
                        ),*);
                        match self.ask(&request)? {
                            HsmAnswer::$method(answer) $(if { let $answer = &answer; $check })? => Ok(answer),
                            _ => Err(HsmError::Host("it answered another question".into())),
                        }
                    }
                )*
            }
        )*

        /// Has the device answer one request.
        pub(super) fn answer_request(
            hsm: &mut impl HsmConnection,
            request: HsmRequest,
        ) -> Result<HsmAnswer, HsmError> {
            match request {
                $($(
                    HsmRequest::$method($($argument),*) => hsm
                        .$method($(
                            $(by_reference!($Ref $argument))?
                            $(by_reference!($Slice $argument))?
                            $(by_reference!($Byte $argument))?
                            $(by_value!($Value $argument))?
                        ),*)
                        .map(HsmAnswer::$method),
                )*)*
            }
        }
    };
}

pub(super) use {by_reference, by_value, hsm_operations, sent_bytes};
