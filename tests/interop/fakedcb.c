/* A device with data center bridging for a process that runs on a veth: preloaded, it answers the process's dcbnl
   requests in user space and logs what would be written. FAKEDCB_LOG names the log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/dcbnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FDS = 1024, MOST_APPS = 64, HOST_CEE_IEEE = 0x0d };

/* Answers waiting to be read from a socket. */
struct answer {
    char *octets;
    int length;
    struct answer *next;
};
static struct answer *answers[MOST_FDS];

/* The device. */
static unsigned char state = 1, mode = HOST_CEE_IEEE;
static struct ieee_ets ets = {.ets_cap = 8};
static struct ieee_pfc pfc = {.pfc_cap = 8};
static struct dcb_app apps[MOST_APPS];
static int app_count;

static FILE *log_file(void) {
    static FILE *file;
    if (!file) {
        const char *name = getenv("FAKEDCB_LOG");
        file = name ? fopen(name, "a") : stderr;
        if (!file) file = stderr;
        setvbuf(file, NULL, _IOLBF, 0);
    }
    return file;
}

static int is_netlink(int fd) {
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    return fd >= 0 && fd < MOST_FDS && !getsockname(fd, (void *)&own, &length) && own.ss_family == AF_NETLINK;
}

/* Attributes. */
struct message {
    char octets[2048];
    int length;
};
static struct nlattr *put(struct message *m, int type, const void *value, int length) {
    struct nlattr *a = (void *)(m->octets + m->length);
    a->nla_type = type;
    a->nla_len = NLA_HDRLEN + length;
    if (value) memcpy((char *)a + NLA_HDRLEN, value, length);
    m->length += NLA_ALIGN(a->nla_len);
    return a;
}
static void put_u8(struct message *m, int type, unsigned char value) { put(m, type, &value, 1); }
static void end(struct message *m, struct nlattr *nest) { nest->nla_len = m->octets + m->length - (char *)nest; }
static void *value(const struct nlattr *a) { return (char *)a + NLA_HDRLEN; }
static int kind(const struct nlattr *a) { return a->nla_type & NLA_TYPE_MASK; }
#define EACH(a, from, to) \
    for (const struct nlattr *a = (void *)(from); (char *)a + NLA_HDRLEN <= (char *)(to) && a->nla_len >= NLA_HDRLEN; \
         a = (void *)((char *)a + NLA_ALIGN(a->nla_len)))

static void change_app(const struct dcb_app *app, int add) {
    int at = 0;
    while (at < app_count && memcmp(&apps[at], app, sizeof *app)) at++;
    if (add && at == app_count && app_count < MOST_APPS) apps[app_count++] = *app;
    if (!add && at < app_count) apps[at] = apps[--app_count];
    fprintf(log_file(), "APP %s sel=%d prio=%d proto=0x%04x\n", add ? "add" : "del", app->selector, app->priority,
            app->protocol);
}

static void change(const struct nlattr *ieee, int add) {
    EACH(a, value(ieee), (char *)ieee + ieee->nla_len) {
        if (kind(a) == DCB_ATTR_IEEE_ETS) {
            memcpy(&ets, value(a), sizeof ets);
            fprintf(log_file(), "ETS bw=%d,%d,%d tsa=%d,%d,%d prio3=%d prio7=%d\n", ets.tc_tx_bw[0], ets.tc_tx_bw[1],
                    ets.tc_tx_bw[2], ets.tc_tsa[0], ets.tc_tsa[1], ets.tc_tsa[2], ets.prio_tc[3], ets.prio_tc[7]);
        } else if (kind(a) == DCB_ATTR_IEEE_PFC) {
            memcpy(&pfc, value(a), sizeof pfc);
            fprintf(log_file(), "PFC en=0x%02x\n", pfc.pfc_en);
        } else if (kind(a) == DCB_ATTR_IEEE_APP_TABLE) {
            EACH(app, value(a), (char *)a + a->nla_len) change_app(value(app), add);
        }
    }
}

/* Whether the message was for the device; its answer then waits. */
static int handle(int fd, const void *octets, size_t length) {
    const struct nlmsghdr *header = octets;
    if (length < NLMSG_LENGTH(sizeof(struct dcbmsg)) || !is_netlink(fd)) return 0;
    if (header->nlmsg_type != RTM_GETDCB && header->nlmsg_type != RTM_SETDCB) return 0;
    const struct dcbmsg *asked = NLMSG_DATA(header);
    const struct nlattr *at[DCB_ATTR_MAX + 1] = {0};
    EACH(a, (char *)asked + NLMSG_ALIGN(sizeof *asked), (char *)header + header->nlmsg_len)
        if (kind(a) <= DCB_ATTR_MAX) at[kind(a)] = a;

    struct message m = {0};
    struct nlmsghdr *out = (void *)m.octets;
    out->nlmsg_type = header->nlmsg_type;
    out->nlmsg_seq = header->nlmsg_seq;
    out->nlmsg_pid = header->nlmsg_pid;
    ((struct dcbmsg *)NLMSG_DATA(out))->cmd = asked->cmd;
    m.length = NLMSG_ALIGN(NLMSG_LENGTH(sizeof *asked));
    struct nlattr *nest, *table;
    switch (asked->cmd) {
    case DCB_CMD_GSTATE: put_u8(&m, DCB_ATTR_STATE, state); break;
    case DCB_CMD_SSTATE:
        if (at[DCB_ATTR_STATE]) state = *(unsigned char *)value(at[DCB_ATTR_STATE]);
        put_u8(&m, DCB_ATTR_STATE, 0);
        break;
    case DCB_CMD_PFC_SCFG: put_u8(&m, DCB_ATTR_PFC_CFG, 0); break;
    case DCB_CMD_PFC_SSTATE: put_u8(&m, DCB_ATTR_PFC_STATE, 0); break;
    case DCB_CMD_PGTX_SCFG:
    case DCB_CMD_PGRX_SCFG: put_u8(&m, DCB_ATTR_PG_CFG, 0); break;
    case DCB_CMD_SET_ALL: put_u8(&m, DCB_ATTR_SET_ALL, 1); break;
    case DCB_CMD_SAPP: put_u8(&m, DCB_ATTR_APP, 0); break;
    case DCB_CMD_GCAP:
        nest = put(&m, DCB_ATTR_CAP, NULL, 0);
        put_u8(&m, DCB_CAP_ATTR_PG, 1);
        put_u8(&m, DCB_CAP_ATTR_PFC, 1);
        put_u8(&m, DCB_CAP_ATTR_UP2TC, 1);
        put_u8(&m, DCB_CAP_ATTR_PG_TCS, 0x80);
        put_u8(&m, DCB_CAP_ATTR_PFC_TCS, 0x80);
        put_u8(&m, DCB_CAP_ATTR_GSP, 1);
        put_u8(&m, DCB_CAP_ATTR_DCBX, mode);
        end(&m, nest);
        break;
    case DCB_CMD_GNUMTCS:
        nest = put(&m, DCB_ATTR_NUMTCS, NULL, 0);
        put_u8(&m, DCB_NUMTCS_ATTR_PG, 8);
        put_u8(&m, DCB_NUMTCS_ATTR_PFC, 8);
        end(&m, nest);
        break;
    case DCB_CMD_GDCBX: put_u8(&m, DCB_ATTR_DCBX, mode); break;
    case DCB_CMD_SDCBX: put_u8(&m, DCB_ATTR_DCBX, 0); break;
    case DCB_CMD_IEEE_SET:
    case DCB_CMD_IEEE_DEL:
        if (at[DCB_ATTR_IEEE]) change(at[DCB_ATTR_IEEE], asked->cmd == DCB_CMD_IEEE_SET);
        put_u8(&m, DCB_ATTR_IEEE, 0);
        break;
    case DCB_CMD_IEEE_GET:
        if (at[DCB_ATTR_IFNAME])
            put(&m, DCB_ATTR_IFNAME, value(at[DCB_ATTR_IFNAME]), at[DCB_ATTR_IFNAME]->nla_len - NLA_HDRLEN);
        nest = put(&m, DCB_ATTR_IEEE, NULL, 0);
        put(&m, DCB_ATTR_IEEE_ETS, &ets, sizeof ets);
        put(&m, DCB_ATTR_IEEE_PFC, &pfc, sizeof pfc);
        table = put(&m, DCB_ATTR_IEEE_APP_TABLE, NULL, 0);
        for (int i = 0; i < app_count; i++) put(&m, DCB_ATTR_IEEE_APP, &apps[i], sizeof apps[i]);
        end(&m, table);
        end(&m, nest);
        break;
    default: put_u8(&m, 0, 0);
    }
    out->nlmsg_len = m.length;
    struct answer *answer = malloc(sizeof *answer), **last = &answers[fd];
    *answer = (struct answer){memcpy(malloc(m.length), m.octets, m.length), m.length, NULL};
    while (*last) last = &(*last)->next;
    *last = answer;
    return 1;
}

static void drop(int fd) {
    struct answer *first = answers[fd];
    answers[fd] = first->next;
    free(first->octets);
    free(first);
}

static ssize_t take(int fd, void *into, size_t room, int flags) {
    struct answer *first = answers[fd];
    int full = first->length, length = full < (int)room ? full : (int)room;
    memcpy(into, first->octets, length);
    if (!(flags & MSG_PEEK)) drop(fd);
    return flags & MSG_TRUNC ? full : length;
}

static int waits(int fd) { return fd >= 0 && fd < MOST_FDS && answers[fd]; }
static socklen_t from_kernel(void *from, socklen_t room) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    memcpy(from, &kernel, room < sizeof kernel ? room : sizeof kernel);
    return sizeof kernel;
}

/* What the C library has under the same name. */
#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t sendto(int fd, const void *octets, size_t length, int flags, const struct sockaddr *to, socklen_t room) {
    return handle(fd, octets, length) ? (ssize_t)length : REAL(sendto)(fd, octets, length, flags, to, room);
}
ssize_t send(int fd, const void *octets, size_t length, int flags) {
    return handle(fd, octets, length) ? (ssize_t)length : REAL(send)(fd, octets, length, flags);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    const struct iovec *part = message->msg_iov;
    if (message->msg_iovlen == 1 && handle(fd, part->iov_base, part->iov_len)) return part->iov_len;
    return REAL(sendmsg)(fd, message, flags);
}
ssize_t recv(int fd, void *into, size_t room, int flags) {
    return waits(fd) ? take(fd, into, room, flags) : REAL(recv)(fd, into, room, flags);
}
ssize_t __recv_chk(int fd, void *into, size_t room, size_t size, int flags) {
    (void)size;
    return recv(fd, into, room, flags);
}
ssize_t recvfrom(int fd, void *into, size_t room, int flags, struct sockaddr *from, socklen_t *length) {
    if (!waits(fd)) return REAL(recvfrom)(fd, into, room, flags, from, length);
    if (from && length) *length = from_kernel(from, *length);
    return take(fd, into, room, flags);
}
ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    if (!waits(fd)) return REAL(recvmsg)(fd, message, flags);
    if (message->msg_name) message->msg_namelen = from_kernel(message->msg_name, message->msg_namelen);
    message->msg_controllen = 0;
    message->msg_flags = answers[fd]->length > (int)message->msg_iov[0].iov_len ? MSG_TRUNC : 0;
    return take(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags);
}
int close(int fd) {
    while (waits(fd)) drop(fd);
    return REAL(close)(fd);
}
