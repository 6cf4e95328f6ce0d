/*
 * endpoint.h
 *		What workers that send events may be told: URLs and headers, and brokers
 *		of Kafka.
 */
#ifndef FLO_ENDPOINT_H
#define FLO_ENDPOINT_H

#include "nodes/pg_list.h"

/* Longest URL, in bytes */
#define FLO_URL_MAX 2000

/* Raise 22023 unless this is a URL that events may be sent to */
extern void flo_url_check(const char *url);

/*
 * Scheme, host and port for messages, palloc'd; what follows may be a secret
 * that opens the endpoint, so only whether there is something.
 */
extern char *flo_url_shown(const char *url);

/* Raise 42501 unless the role is a superuser or pg_flo.webhook_allow lists the URL */
extern void flo_url_check_allowed(const char *url, Oid role);

/* Longest list of brokers, in bytes */
#define FLO_BROKERS_MAX 2000

/* The same for a list of brokers, host:port each, and pg_flo.kafka_allow */
extern void flo_brokers_check(const char *brokers);
extern void flo_brokers_check_allowed(const char *brokers, Oid role);

/*
 * Why a header cannot be sent, NULL when it can.  Reasons never repeat the
 * value, which may be a secret.
 */
extern const char *flo_header_problem(const char *name, int name_len,
									  const char *value, int value_len);

#endif
