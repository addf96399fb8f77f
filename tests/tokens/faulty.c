/* A PKCS#11 module for tests: SoftHSM2's, with faults that a token may have. It reads them from files beside itself:
 *
 *   restarts   a number; a session that was opened under another number is dead, as after a restart of the token
 *   sessions   the most sessions that the token has at a time
 *   locked     the PIN is locked
 *
 * Places in CK_FUNCTION_LIST are those of PKCS#11 2.20, section 9.6. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REAL "/usr/lib/softhsm/libsofthsm2.so"
#define MOST 4096

#define CKR_GENERAL_ERROR 0x05UL
#define CKR_PIN_LOCKED 0xA4UL
#define CKR_SESSION_COUNT 0xB1UL
#define CKR_SESSION_HANDLE_INVALID 0xB3UL

typedef unsigned long CK;
typedef CK (*call)(CK, CK, CK, CK, CK, CK);

struct list {
    unsigned char version[2];
    call calls[68];
};

enum {
    GET_FUNCTION_LIST = 3,
    OPEN_SESSION = 12,
    CLOSE_SESSION = 13,
    LOGIN = 18,
    CREATE_OBJECT = 20,
    GET_ATTRIBUTE_VALUE = 24,
    FIND_OBJECTS_INIT = 26,
    ENCRYPT_INIT = 29,
    ENCRYPT = 30,
    DECRYPT_INIT = 33,
    DECRYPT = 34,
    SIGN_INIT = 42,
    DERIVE_KEY = 62
};

static struct list real, ours;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CK handles[MOST], born[MOST];
static long opened;

/* The number in a file beside this library; -1 if there is no such file. */
static long number(const char *name) {
    Dl_info about;
    char path[4096];
    long value = 0;
    if (!dladdr((void *)&number, &about)) {
        return -1;
    }
    const char *end = strrchr(about.dli_fname, '/');
    int folder = end ? (int)(end - about.dli_fname) : 0;
    snprintf(path, sizeof path, "%.*s/%s", folder, about.dli_fname, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        return -1;
    }
    if (fscanf(file, "%ld", &value) != 1) {
        value = 0;
    }
    fclose(file);
    return value;
}

static CK open_session(CK slot, CK flags, CK app, CK notify, CK handle, CK none) {
    pthread_mutex_lock(&lock);
    long most = number("sessions");
    CK result = CKR_SESSION_COUNT;
    if (most < 0 || opened < most) {
        result = real.calls[OPEN_SESSION](slot, flags, app, notify, handle, none);
    }
    if (result == 0) {
        opened++;
        for (int place = 0; place < MOST; place++) {
            if (!handles[place]) {
                handles[place] = *(CK *)handle;
                born[place] = (CK)number("restarts");
                break;
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static CK close_session(CK session, CK b, CK c, CK d, CK e, CK f) {
    pthread_mutex_lock(&lock);
    for (int place = 0; place < MOST; place++) {
        if (handles[place] == session) {
            handles[place] = 0;
            opened--;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return real.calls[CLOSE_SESSION](session, b, c, d, e, f);
}

static CK login(CK session, CK b, CK c, CK d, CK e, CK f) {
    return number("locked") >= 0 ? CKR_PIN_LOCKED : real.calls[LOGIN](session, b, c, d, e, f);
}

/* Whether the token was started anew since this session was opened. */
static int dead(CK session) {
    int is = 1;
    pthread_mutex_lock(&lock);
    for (int place = 0; place < MOST; place++) {
        if (handles[place] == session) {
            is = born[place] != (CK)number("restarts");
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return is;
}

#define GUARDED(name, place)                                                              \
    static CK name(CK session, CK b, CK c, CK d, CK e, CK f) {                            \
        return dead(session) ? CKR_SESSION_HANDLE_INVALID                                 \
                             : real.calls[place](session, b, c, d, e, f);                 \
    }

GUARDED(create_object, CREATE_OBJECT)
GUARDED(get_attribute_value, GET_ATTRIBUTE_VALUE)
GUARDED(find_objects_init, FIND_OBJECTS_INIT)
GUARDED(encrypt_init, ENCRYPT_INIT)
GUARDED(encrypt, ENCRYPT)
GUARDED(decrypt_init, DECRYPT_INIT)
GUARDED(decrypt, DECRYPT)
GUARDED(sign_init, SIGN_INIT)
GUARDED(derive_key, DERIVE_KEY)

CK C_GetFunctionList(struct list **out);

static CK get_function_list(CK out, CK b, CK c, CK d, CK e, CK f) {
    (void)b, (void)c, (void)d, (void)e, (void)f;
    return C_GetFunctionList((struct list **)out);
}

CK C_GetFunctionList(struct list **out) {
    void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    CK (*get)(struct list **) = library ? (CK(*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    struct list *found = NULL;
    if (!get || get(&found) != 0) {
        return CKR_GENERAL_ERROR;
    }
    real = ours = *found;
    ours.calls[GET_FUNCTION_LIST] = get_function_list;
    ours.calls[OPEN_SESSION] = open_session;
    ours.calls[CLOSE_SESSION] = close_session;
    ours.calls[LOGIN] = login;
    ours.calls[CREATE_OBJECT] = create_object;
    ours.calls[GET_ATTRIBUTE_VALUE] = get_attribute_value;
    ours.calls[FIND_OBJECTS_INIT] = find_objects_init;
    ours.calls[ENCRYPT_INIT] = encrypt_init;
    ours.calls[ENCRYPT] = encrypt;
    ours.calls[DECRYPT_INIT] = decrypt_init;
    ours.calls[DECRYPT] = decrypt;
    ours.calls[SIGN_INIT] = sign_init;
    ours.calls[DERIVE_KEY] = derive_key;
    *out = &ours;
    return 0;
}
