/*
 * owner.h
 *		Whose stream, copy stream or state bucket is it?
 *
 * The database that has the group's replicator is recorded at the broker, in the
 * description of what it makes there.  Nobody else deletes, purges or changes
 * that unless he is told to.
 */
#ifndef FLO_OWNER_H
#define FLO_OWNER_H

#include "bus/bus.h"
#include "bus/json.h"

typedef struct FloOwner
{
	uint64		system_identifier;
	uint32		database_oid;
	char	   *database;		/* its name, for people */
	char	   *cluster;		/* cluster_name, likewise; "" = not set */
} FloOwner;

/* A description: what it is, and whose */
extern char *flo_owner_describe(const char *what, const FloOwner *owner);

/* The owner in a description, NULL when none is recorded there; 08P01 when it cannot be read */
extern FloOwner *flo_owner_read(const char *description);

/* The database whose stream it is, by its name; "" when that is not recorded */
extern char *flo_owner_database(FloBus *bus, const char *stream);

extern bool flo_owner_is_same(const FloOwner *a, const FloOwner *b);

/* In words: 'database "app" of this cluster', 'database "app" of cluster "main" (system 7...)' */
extern char *flo_owner_shown(const FloOwner *owner);

/* As a JSON object, and back; 08P01 */
extern char *flo_owner_write(const FloOwner *owner);
extern FloOwner *flo_owner_parse(FloJson json);

#endif
