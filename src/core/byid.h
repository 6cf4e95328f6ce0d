/*
 * byid.h
 *		A hash table with OIDs of the source as keys, made by lib/simplehash.h.
 *
 * No guard: included once per table, after FLO_BY_ID (prefix of its functions)
 * and FLO_BY_ID_ENTRY (an entry's type, with "uint32 id" and "char status")
 * are defined.
 */
#include "common/hashfn.h"

#define SH_PREFIX FLO_BY_ID
#define SH_ELEMENT_TYPE FLO_BY_ID_ENTRY
#define SH_KEY_TYPE uint32
#define SH_KEY id
#define SH_HASH_KEY(tb, key) murmurhash32(key)
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

#undef FLO_BY_ID
#undef FLO_BY_ID_ENTRY
