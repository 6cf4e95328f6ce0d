/*
 * mock_kafka.c
 *		librdkafka's mock cluster as a process, for t/077_kafka.pl.
 *
 * Prints where it listens, then obeys lines on standard input: "errors KEY N
 * CODE" (the next N answers to requests of that key of Kafka's protocol are this
 * error), "topic NAME CODE" (so does whatever is about that topic), "down", "up".
 * Ends with its input.  It keeps no aborts and fences nobody, so it says nothing of
 * exactly once.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

int
main(void)
{
	char		words[256];
	char		line[256];
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), words, sizeof(words));
	rd_kafka_mock_cluster_t *cluster = rk != NULL ? rd_kafka_mock_cluster_new(rk, 1) : NULL;

	if (cluster == NULL)
		return 1;
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		int			key;
		int			count;
		int			code;

		if (sscanf(line, "errors %d %d %d", &key, &count, &code) == 3)
			while (count-- > 0)
				rd_kafka_mock_push_request_errors(cluster, (int16_t) key, 1,
												  (rd_kafka_resp_err_t) code);
		else if (sscanf(line, "topic %255s %d", words, &code) == 2)
			rd_kafka_mock_topic_set_error(cluster, words, (rd_kafka_resp_err_t) code);
		else if (strcmp(line, "down\n") == 0)
			rd_kafka_mock_broker_set_down(cluster, 1);
		else if (strcmp(line, "up\n") == 0)
			rd_kafka_mock_broker_set_up(cluster, 1);
		printf("done\n");
		fflush(stdout);
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
