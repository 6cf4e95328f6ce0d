/*
 * types.h
 *		What the server's own types are like.
 */
#ifndef FLO_TYPES_H
#define FLO_TYPES_H

/* One of the reg* types: an OID, whose text is the name of an object of this database */
extern bool flo_type_names_object(Oid type);

#endif
