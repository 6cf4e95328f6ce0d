/*
 * named_secret.c
 *		Secrets that pseudonyms are made with (flo.named_secrets).
 *
 * What may be used by somebody is not shown to him: a value leaves this file only
 * as the key of a pseudonym.  Like the keys of messages it is read without SQL.
 *
 * Awkward case: a secret that is replaced while a transaction is decoded.  Tables
 * cannot be read then, so what was read before is used until rules are loaded
 * anew, as it is with rules.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "conf/named_secret.h"
#include "conf/sql.h"
#include "core/caches.h"
#include "core/compat_table.h"
#include "core/roles.h"
#include "core/text.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define HANDLE "flo.secret:"
#define RANDOM_BYTES 32

#define Anum_named_secrets_name 1
#define Anum_named_secrets_value 2
#define Anum_named_secrets_owner 3

typedef struct Known
{
	char	   *name;
	char	   *value;			/* NULL: there is none */
	Oid			owner;
	bool		stale;
} Known;

static List *known = NIL;		/* of Known *, of the process */
static uint64 version = 1;
static Oid	watched = InvalidOid;

/* --- changes ------------------------------------------------------------- */

static void
relation_changed(Datum arg, Oid relation)
{
	ListCell   *lc;

	if ((OidIsValid(relation) && relation != watched) || flo_caches_forgotten())
		return;
	version++;
	foreach(lc, known)
		((Known *) lfirst(lc))->stale = true;
}

static void
roles_changed(Datum arg, int cache, uint32 hash)
{
	if (!flo_caches_forgotten())
		version++;
}

static void
watch(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
	registered = true;
}

uint64
flo_named_secret_version(void)
{
	return version;
}

/* --- reading ------------------------------------------------------------- */

static char *
keep(const char *text)
{
	return MemoryContextStrdup(TopMemoryContext, text);
}

static void
forget_value(Known *secret)
{
	if (secret->value == NULL)
		return;
	explicit_bzero(secret->value, strlen(secret->value));
	pfree(secret->value);
	secret->value = NULL;
}

static void
read_row(Known *secret, TupleTableSlot *slot)
{
	bool		isnull;

	secret->value = keep(TextDatumGetCString(slot_getattr(slot, Anum_named_secrets_value,
														  &isnull)));
	secret->owner = DatumGetObjectId(slot_getattr(slot, Anum_named_secrets_owner, &isnull));
}

static void
read_secret(Known *secret)
{
	Relation	table;
	TupleTableSlot *slot;
	TableScanDesc scan;
	Snapshot	snapshot;

	watched = flo_store_table("named_secrets");
	if (!OidIsValid(watched))
		return;
	table = table_open(watched, AccessShareLock);
	/* parallel workers have what their leader has */
	snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	slot = table_slot_create(table, NULL);
	scan = flo_compat_table_beginscan(table, snapshot);
	secret->stale = false;
	forget_value(secret);
	while (secret->value == NULL && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		name = slot_getattr(slot, Anum_named_secrets_name, &isnull);

		if (strcmp(TextDatumGetCString(name), secret->name) == 0)
			read_row(secret, slot);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

static Known *
find(const char *name)
{
	Known	   *secret;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, known)
	{
		secret = lfirst(lc);
		if (strcmp(secret->name, name) == 0)
			return secret;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	secret = palloc0(sizeof(Known));
	secret->name = pstrdup(name);
	secret->stale = true;
	known = lappend(known, secret);
	MemoryContextSwitchTo(old);
	return secret;
}

FloSecretState
flo_named_secret_find(const char *name, Oid role, const char **value)
{
	Known	   *secret;

	watch();
	secret = find(name);
	/* the ones that there are not are looked for each time */
	if ((secret->stale || secret->value == NULL) && !HistoricSnapshotActive())
		read_secret(secret);
	if (secret->value == NULL)
		return FLO_SECRET_UNKNOWN;
	if (!flo_role_has_rights_of(role, secret->owner))
		return FLO_SECRET_FORBIDDEN;
	*value = secret->value;
	return FLO_SECRET_FOUND;
}

void
flo_named_secret_refuse(FloSecretState state, const char *name, Oid role)
{
	if (state == FLO_SECRET_FORBIDDEN)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for secret \"%s\" to %s", name, flo_role_shown(role)),
				 errhint("Only those with the rights of the role that has set it may use it.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no secret \"%s\" in this database", name),
			 errhint("Make it with flo.set_secret(). It is not in dumps: give the value that it had elsewhere where pseudonyms must be the same.")));
}

const char *
flo_named_secret_require(const char *name)
{
	const char *value;
	FloSecretState state = flo_named_secret_find(name, GetUserId(), &value);

	if (state != FLO_SECRET_FOUND)
		flo_named_secret_refuse(state, name, GetUserId());
	return value;
}

char *
flo_named_secret_handle(const char *name)
{
	return psprintf(HANDLE "%s", name);
}

char *
flo_named_secret_of_handle(const char *handle, int len)
{
	if (len <= (int) strlen(HANDLE) || memcmp(handle, HANDLE, strlen(HANDLE)) != 0)
		return NULL;
	return pnstrdup(handle + strlen(HANDLE), len - strlen(HANDLE));
}

/* --- writing ------------------------------------------------------------- */

static char *
random_value(void)
{
	uint8		bytes[RANDOM_BYTES];
	char	   *value = palloc(2 * RANDOM_BYTES + 1);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not get random bytes")));
	for (int i = 0; i < RANDOM_BYTES; i++)
		snprintf(value + 2 * i, 3, "%02x", bytes[i]);
	return value;
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a secret"),
				 errhint("It has from 1 to %d bytes.", NAMEDATALEN - 1)));
}

static void
check_value(const char *value)
{
	if (strlen(value) < FLO_SECRET_MIN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the secret is too short"),
				 errhint("It has %d bytes or more, as nobody must be able to guess it: leave the value out, and one is made at random.",
						 FLO_SECRET_MIN)));
}

/*
 * Throws unless the one that is there may be changed by the current user.  One that
 * somebody else is about to make is waited for, so that it is not overwritten unseen.
 */
static void
check_owner(const char *name)
{
	const char *value;
	FloSecretState state;

	LockRelationOid(flo_store_table("named_secrets"), ShareRowExclusiveLock);
	state = flo_named_secret_find(name, GetUserId(), &value);

	if (state == FLO_SECRET_FORBIDDEN)
		flo_named_secret_refuse(state, name, GetUserId());
}

static bool
exists(const char *name)
{
	const char *value;

	return flo_named_secret_find(name, GetUserId(), &value) != FLO_SECRET_UNKNOWN;
}

void
flo_named_secret_set(const char *name, const char *value, bool replace)
{
	char	   *owner = psprintf("%u", GetUserId());

	check_name(name);
	if (value != NULL)
		check_value(value);
	check_owner(name);
	if (exists(name) && !replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("secret \"%s\" exists", name),
				 errhint("With replace => true all pseudonyms made with it become others: what has been copied must be copied again.")));
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.named_secrets (name, value, owner) VALUES ($1, $2, $3::oid::regrole)"
			   " ON CONFLICT (name) DO UPDATE SET value = excluded.value, set_at = excluded.set_at",
			   3, name, value != NULL ? value : random_value(), owner);
}

bool
flo_named_secret_drop(const char *name)
{
	check_owner(name);
	return flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.named_secrets WHERE name = $1", 1, name) > 0;
}
