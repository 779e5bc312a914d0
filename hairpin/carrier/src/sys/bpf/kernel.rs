//! Numbers of the kernel that programs of ours name: its registers, fields, functions and verdicts.

/// The register that points behind the program's stack.
pub(crate) const FRAME_POINTER: u8 = 10;

// Where fields of `struct __sk_buff` are; the protocol stands there in network byte order.
pub(crate) const SKB_LEN: i16 = 0;
pub(crate) const SKB_MARK: i16 = 8;
pub(crate) const SKB_PROTOCOL: i16 = 16;
pub(crate) const SKB_VLAN_PRESENT: i16 = 20;
pub(crate) const SKB_VLAN_TCI: i16 = 24;
pub(crate) const SKB_VLAN_PROTO: i16 = 28;
pub(crate) const SKB_INGRESS_IFINDEX: i16 = 36;
pub(crate) const SKB_IFINDEX: i16 = 40;
pub(crate) const SKB_GSO_SIZE: i16 = 176;

// Of `enum bpf_func_id`.
pub(crate) const MAP_LOOKUP: i32 = 1;
pub(crate) const STORE_OCTETS: i32 = 9;
pub(crate) const VLAN_PUSH: i32 = 18;
pub(crate) const VLAN_POP: i32 = 19;
pub(crate) const REDIRECT: i32 = 23;
pub(crate) const LOAD_OCTETS: i32 = 26;
pub(crate) const CHANGE_HEAD: i32 = 43;
pub(crate) const ADJUST_HEAD: i32 = 44;
pub(crate) const REDIRECT_MAP: i32 = 51;

// What a program at `tcx` says of a frame.
pub(crate) const TCX_NEXT: i32 = -1;
pub(crate) const TCX_DROP: i32 = 2;

// What one at XDP says.
pub(crate) const XDP_DROP: i32 = 1;
pub(crate) const XDP_PASS: i32 = 2;
