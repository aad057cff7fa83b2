-- What the topics are called, the most popular first.
INSERT INTO topics (topic_id, name, type, industry, category)
WITH
    [('Account Based Marketing', 'Marketing', 'Business'), ('Email Marketing', 'Marketing', 'Business'),
     ('Sales Enablement', 'Sales', 'Business'), ('Customer Data', 'Marketing', 'Technology'),
     ('Cloud Migration', 'Information Technology', 'Technology'), ('Data Warehouse', 'Information Technology', 'Technology'),
     ('Endpoint Security', 'Security', 'Technology'), ('Identity Management', 'Security', 'Technology'),
     ('Payroll', 'Human Resources', 'Business'), ('Recruiting', 'Human Resources', 'Business'),
     ('Employee Benefits', 'Human Resources', 'Business'), ('Expense Management', 'Finance', 'Business'),
     ('Accounts Payable', 'Finance', 'Business'), ('Business Loans', 'Finance', 'Business'),
     ('Commercial Insurance', 'Insurance', 'Business'), ('Fleet Management', 'Logistics', 'Operations'),
     ('Warehouse Management', 'Logistics', 'Operations'), ('Supply Chain', 'Logistics', 'Operations'),
     ('Solar Power', 'Energy', 'Operations'), ('Energy Efficiency', 'Energy', 'Operations'),
     ('Electronic Health Records', 'Healthcare', 'Technology'), ('Medical Devices', 'Healthcare', 'Operations'),
     ('Clinical Trials', 'Healthcare', 'Science'), ('Online Learning', 'Education', 'Technology'),
     ('Student Loans', 'Education', 'Personal'), ('Mortgages', 'Finance', 'Personal'),
     ('Home Renovation', 'Real Estate', 'Personal'), ('Office Space', 'Real Estate', 'Business'),
     ('Electric Vehicles', 'Automotive', 'Personal'), ('Business Travel', 'Travel', 'Business'),
     ('Video Conferencing', 'Information Technology', 'Technology'), ('Point of Sale', 'Retail', 'Technology'),
     ('Online Stores', 'Retail', 'Technology'), ('Contract Management', 'Legal', 'Business'),
     ('Privacy Compliance', 'Legal', 'Business'), ('Machine Learning', 'Information Technology', 'Technology'),
     ('Chatbots', 'Information Technology', 'Technology'), ('Web Analytics', 'Marketing', 'Technology'),
     ('Influencer Marketing', 'Marketing', 'Business'), ('Event Management', 'Marketing', 'Business')] AS subjects,
    ['Automation', 'Software', 'Pricing', 'Consulting', 'Integration', 'Reporting', 'Training', 'Best Practices',
     'Providers', 'Reviews', 'for Small Business', 'for Enterprises', 'Certification', 'Trends', 'Tools', 'Strategy',
     'Platforms', 'Audits', 'Budgets', 'Benchmarks', 'Outsourcing', 'Templates', 'Regulation', 'Support', 'Migration',
     'Jobs', 'Conferences', 'Case Studies', 'Open Source', 'Managed Services', 'Comparison', 'Implementation',
     'Subscriptions', 'Guides', 'Metrics', 'Apps', 'Vendors', 'Workflows', 'Security', 'Costs', 'Alternatives',
     'Communities', 'Forecasts', 'Standards', 'Partnerships', 'Staffing', 'Financing', 'Marketplaces', 'Research',
     'Maintenance'] AS sides,
    subjects[1 + number % 40] AS subject,
    intDiv(number, 2000) AS round
SELECT
    toUInt32({first_topic:UInt32} + {topic_step:UInt32} * number),
    concat(subject.1, ' ', sides[1 + (intDiv(number, 40) + number % 40) % 50], if(round > 0, concat(' ', toString(round + 1)), '')),
    if(subject.3 = 'Personal', 'b2c', 'b2b'),
    if(number % 41 = 40, NULL, subject.2),
    if(number % 29 = 28, NULL, subject.3)
FROM numbers({topics:UInt64})
