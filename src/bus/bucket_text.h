/*
 * bucket_text.h
 *		Texts of any size in a state bucket.
 */
#ifndef FLO_BUCKET_TEXT_H
#define FLO_BUCKET_TEXT_H

#include "bus/bus.h"

/*
 * A text of any size (UTF-8) that belongs to a generation, cut into values
 * "<key>.1" and so on, with "<key>" put last to say how many there are.
 */
extern void flo_bucket_put_text(FloBus *bus, const char *bucket, const char *key,
								const char *generation, const char *text);

/* NULL when there is none of the generation */
extern char *flo_bucket_get_text(FloBus *bus, const char *bucket, const char *key,
								 const char *generation);

extern bool flo_bucket_has_text(FloBus *bus, const char *bucket, const char *key,
								const char *generation);

extern void flo_bucket_remove_text(FloBus *bus, const char *bucket, const char *key);

#endif
