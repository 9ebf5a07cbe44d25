from datakit_framework import DataKitFramework


class Events(DataKitFramework):
    name = 'Events'
    interval = 3600

    def run(self):
        tags = {"tag1": "val1", "tag2": "val2"}
        date_range = 10
        status = 'info'
        event_id = 'event-21946fc19eaf4c5cb1a698f659bf74cd'
        title = 'three kinds'
        message = 'a message'
        kwargs = {"custom_key1": "custom_value1", "custom_key2": "custom_value2"}
        self.feed_user_event(df_user_id="user-1", tags=tags, df_date_range=date_range, df_status=status,
                             df_event_id=event_id, df_title=title, df_message=message, **kwargs)
        dimension_tags = '{"host":"web01"}'
        self.feed_monitor_event(df_dimension_tags=dimension_tags, tags=tags, df_date_range=date_range, df_status=status,
                                df_event_id=event_id, df_title=title, df_message=message, **kwargs)
        self.feed_system_event(tags=tags, df_date_range=date_range, df_status=status,
                               df_event_id=event_id, df_title=title, df_message=message, **kwargs)
