/*
 * owner.c
 *		Whose stream, copy stream or state bucket is it?
 *
 * A description reads "pg_flo group users, owner {"version":1,...}": people see
 * it in the tools of NATS, and it is made with the stream in one step.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/owner.h"
#include "bus/stream.h"
#include "wire/record.h"

#define OWNER_MARK ", owner {"

static const FloField owner_fields[] = {
	{FLO_FIELD(FloOwner, system_identifier, FLO_FIELD_SYSTEM, FLO_REQUIRED)},
	{FLO_FIELD(FloOwner, database_oid, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloOwner, database, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloOwner, cluster, FLO_FIELD_TEXT, FLO_REQUIRED)},
};
static const FloRecordFormat owner_format = {
	.version = 1,
	.size = sizeof(FloOwner),
	.fields = owner_fields,
	.nfields = lengthof(owner_fields),
	.shown_only = true
};

char *
flo_owner_write(const FloOwner *owner)
{
	return flo_record_write(&owner_format, owner);
}

FloOwner *
flo_owner_parse(FloJson json)
{
	return flo_record_read(&owner_format, "owner", json.text, json.len);
}

char *
flo_owner_describe(const char *what, const FloOwner *owner)
{
	return psprintf("%s, owner %s", what, flo_owner_write(owner));
}

FloOwner *
flo_owner_read(const char *description)
{
	const char *mark = strstr(description, OWNER_MARK);

	if (mark == NULL)
		return NULL;
	mark += strlen(OWNER_MARK) - 1;
	return flo_owner_parse(flo_json(mark, strlen(mark)));
}

char *
flo_owner_database(FloBus *bus, const char *stream)
{
	FloStreamInfo info;
	FloOwner   *owner = flo_stream_info(bus, stream, &info) ? flo_owner_read(info.description) :
		NULL;

	return owner != NULL && owner->database != NULL ? owner->database : pstrdup("");
}

bool
flo_owner_is_same(const FloOwner *a, const FloOwner *b)
{
	return a->system_identifier == b->system_identifier && a->database_oid == b->database_oid;
}

char *
flo_owner_shown(const FloOwner *owner)
{
	if (owner->system_identifier == GetSystemIdentifier())
		return psprintf("database \"%s\" of this cluster", owner->database);
	if (owner->cluster[0] == '\0')
		return psprintf("database \"%s\" of another cluster (system " UINT64_FORMAT ")",
						owner->database, owner->system_identifier);
	return psprintf("database \"%s\" of cluster \"%s\" (system " UINT64_FORMAT ")",
					owner->database, owner->cluster, owner->system_identifier);
}
