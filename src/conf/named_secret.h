/*
 * named_secret.h
 *		Secrets that pseudonyms are made with (flo.named_secrets).
 *
 * Read once by each process and kept, since where rows are decoded no table can
 * be read.  A change is seen at the next look after its commit.
 */
#ifndef FLO_NAMED_SECRET_H
#define FLO_NAMED_SECRET_H

#include "core/compat.h"

#define FLO_SECRET_MIN 16		/* bytes */

typedef enum FloSecretState
{
	FLO_SECRET_FOUND,
	FLO_SECRET_UNKNOWN,
	FLO_SECRET_FORBIDDEN		/* not for this role */
} FloSecretState;

/*
 * The secret that "role" may use: it has the rights of the role that has set it.
 * The value, a text, is valid until invalidations are taken in: copy it at once.
 */
extern FloSecretState flo_named_secret_find(const char *name, Oid role, const char **value);

/* The same for the current user; throws 42704 and 42501 */
extern const char *flo_named_secret_require(const char *name);

/* Throws what is wrong with the secret of this name */
pg_noreturn extern void flo_named_secret_refuse(FloSecretState state, const char *name, Oid role);

/* Another number when secrets or roles may have changed */
extern uint64 flo_named_secret_version(void);

/*
 * What flo.secret() returns in a secret's place, and the name in it (NULL: it is
 * no such thing)
 */
extern char *flo_named_secret_handle(const char *name);
extern char *flo_named_secret_of_handle(const char *handle, int len);

/* As the current user; "value" NULL: made at random */
extern void flo_named_secret_set(const char *name, const char *value, bool replace);
extern bool flo_named_secret_drop(const char *name);

#endif
