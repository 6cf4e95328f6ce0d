/*
 * names.c
 *		Every name pg_flo derives from a group or worker name.
 *
 * Names of streams, subjects, consumers, slots and so on are made here and
 * nowhere else, so that two groups, two workers or two databases can be seen
 * never to share one:
 *
 * - Group and worker names are at most 40 characters of [a-z0-9_], which every
 *	 one of PostgreSQL and NATS accepts; none of the results is longer than
 *	 NAMEDATALEN - 1 where PostgreSQL keeps it.
 * - Slots and origins are shared by all databases of a cluster and therefore
 *	 carry the database's OID; a worker's consumer is shared by all clusters
 *	 and carries a hash of system identifier and database.
 * - A suffix never makes one group's name out of another's: stream names end
 *	 in _stream, those of copies in _copy; the second publication's suffix
 *	 _insert is therefore not allowed at the end of a group name.
 */
#include "postgres.h"

#include "core/names.h"

#define INSERT_SUFFIX "_insert"

bool
flo_name_is_valid(const char *name)
{
	int			len;

	if (name[0] < 'a' || name[0] > 'z')
		return false;

	for (len = 1; name[len] != '\0'; len++)
	{
		char		c = name[len];

		if (len >= FLO_NAME_MAX)
			return false;
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}

	return true;
}

bool
flo_name_is_consumer(const char *name)
{
	return name[0] != '\0' && strlen(name) < FLO_CONSUMER_BUF &&
		strspn(name,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(name);
}

static void
check_name(const char *name, const char *what)
{
	if (!flo_name_is_valid(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s name \"%s\"", what, name),
				 errhint("A %s name begins with a lower-case letter and has at most %d "
						 "lower-case letters, digits and underscores.",
						 what, FLO_NAME_MAX)));
}

void
flo_name_check_group(const char *name)
{
	size_t		len = strlen(name);
	size_t		suffix = strlen(INSERT_SUFFIX);

	check_name(name, "group");

	if (len >= suffix && strcmp(name + len - suffix, INSERT_SUFFIX) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid group name \"%s\"", name),
				 errhint("A group name must not end in \"%s\": publications are told "
						 "apart by that suffix.", INSERT_SUFFIX)));
}

void
flo_name_check_worker(const char *name)
{
	check_name(name, "worker");

	if (strcmp(name, FLO_REPLICATOR_MEMBER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a worker cannot be named \"%s\"", name),
				 errhint("That is the member name of the group's source side.")));
}

char *
flo_name_stream(const char *group)
{
	return psprintf("pgflo_%s_stream", group);
}

char *
flo_name_subject(const char *group)
{
	return psprintf("pgflo.%s", group);
}

char *
flo_name_copy_stream(const char *group)
{
	return psprintf("pgflo_%s_copy", group);
}

char *
flo_name_backfill_stream(const char *group)
{
	return psprintf("pgflo_%s_backfill", group);
}

char *
flo_name_compare_stream(const char *group)
{
	return psprintf("pgflo_%s_compare", group);
}

char *
flo_name_bucket(const char *group)
{
	return psprintf("pg_flo_state_%s", group);
}

/*
 * FNV-1a over the decimal text, so that the name is the same on every
 * platform and in every server version.
 */
static uint64
hash_text(const char *text)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (; *text; text++)
	{
		hash ^= (unsigned char) *text;
		hash *= UINT64CONST(0x100000001b3);
	}

	return hash;
}

char *
flo_name_consumer(const char *group, const char *worker,
				  uint64 system_identifier, Oid database)
{
	char		place[64];

	snprintf(place, sizeof(place), UINT64_FORMAT "/%u", system_identifier, database);

	return psprintf("pgflo_%s_%s_%016llx", group, worker,
					(unsigned long long) hash_text(place));
}

char *
flo_name_publication(const char *group)
{
	return psprintf("pgflo_%s", group);
}

char *
flo_name_insert_publication(const char *group)
{
	return psprintf("pgflo_%s" INSERT_SUFFIX, group);
}

char *
flo_name_slot(Oid database, const char *group)
{
	return psprintf("pgflo_%u_%s", database, group);
}

char *
flo_name_origin(Oid database, const char *group, const char *worker)
{
	return psprintf("pgflo_%u_%s/%s", database, group, worker);
}

Oid
flo_name_database_of_origin(const char *origin)
{
	unsigned int database;
	int			end = 0;

	if (sscanf(origin, "pgflo_%u_%n", &database, &end) != 1 || end == 0 ||
		strchr(origin + end, '/') == NULL)
		return InvalidOid;
	return (Oid) database;
}
