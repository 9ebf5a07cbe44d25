# probe: charts, dimensions and names that change while a job runs, attributes of names that a framework could have
from bases.FrameworkServices.SimpleService import SimpleService


class Service(SimpleService):
    O = [None, 't', 'u', 'f', 'x.c', 'line']

    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.n = 0
        getattr(self, 'm_' + self.configuration['m'])()

    def check(self):
        return True

    def get_data(self):
        self.n += 1
        given = getattr(self, 'g_' + self.configuration['m'], lambda n: None)(self.n)
        return {'v': self.n, 'w': 2, 'x': 3, 1: 4, 'a b': 5, '': 6} if given is None else given

    def T(self, what, call):
        """Calls what may raise; the case compares what is printed, not what is raised."""
        try:
            return call()
        except Exception as error:
            return type(error)

    def base(self,lines=(('v',),)): self.order=['c']; self.definitions={'c':{'options':self.O,'lines':[list(l) for l in lines]}}
    def m_adddim(self): self.base()
    def g_adddim(self,n):
        c=self.charts['c']
        if n==2: self.T('a',lambda:c.add_dimension(['w','W','incremental',2,3])); self.T('dup',lambda:c.add_dimension(['w'])); self.T('t',lambda:c.add_dimension(('x',))); self.T('s',lambda:c.add_dimension('x')); self.T('e',lambda:c.add_dimension([])); self.T('n',lambda:c.add_dimension(None)); self.T('N',lambda:c.add_dimension([None])); self.T('i',lambda:c.add_dimension([1])); self.T('seven',lambda:c.add_dimension(['y',1,2,3,4,5,6,7]))
    def m_deldim(self): self.base([('v',),('w',)])
    def g_deldim(self,n):
        c=self.charts['c']
        if n==2: self.T('d',lambda:c.del_dimension('w'))
        if n==3: self.T('d2',lambda:c.del_dimension('w')); self.T('add',lambda:c.add_dimension(['w',None,'incremental'])); 
        if n==4: self.T('d3',lambda:c.del_dimension('w',hide=False)); self.T('d4',lambda:c.del_dimension('v',False))
        if n==5: self.T('no',lambda:c.del_dimension(None))
        return {'v':n,'w':n}
    def m_hidedim(self): self.base([('v',),('w',)])
    def g_hidedim(self,n):
        c=self.charts['c']
        if n==2: self.T('h',lambda:c.hide_dimension('w'))
        if n==3: self.T('h',lambda:c.hide_dimension('w',reverse=True)); self.T('hn',lambda:c.hide_dimension('zz'))
    def m_addchart(self): self.base()
    def g_addchart(self,n):
        if n==2:
            self.T('a',lambda:self.charts.add_chart(['d']+self.O).add_dimension(['w'])); self.T('tup',lambda:self.charts.add_chart(tuple(['e']+self.O))); self.T('short',lambda:self.charts.add_chart(['e','x'])); self.T('none',lambda:self.charts.add_chart(None)); self.T('dict',lambda:self.charts.add_chart({'a':1})); self.T('nodim',lambda:self.charts.add_chart(['g']+self.O)); self.T('prio',lambda:self.charts.priority)
        if n==3: self.T('rep',lambda:self.charts.add_chart(['d']+self.O[:1]+['new']+self.O[2:]).add_dimension(['x'])); self.T('del',lambda:self.charts.__delitem__('g'))
        if n==4: del self.charts['d']
        return {'v':n,'w':2,'x':3}
    def m_obs(self): self.base()
    def g_obs(self,n):
        c=self.charts['c']
        if n==2: self.T('o',lambda:c.obsolete()); self.T('act',lambda:self.charts.active_charts())
        if n==3: self.T('o',lambda:c.obsolete()); return {'q':1}
        if n==4: self.T('r',lambda:c.refresh()); 
        if n==5: c.obsolete(); c.obsolete(); c.add_dimension(['w'])
    def m_penal(self): self.base(); self.charts.cleanup=2
    def g_penal(self,n):
        self.T('p%d'%n,lambda:(self.charts['c'].penalty,sorted(vars(self.charts['c'].flags).items())))
        return {'v':1} if n in (1,6) else {'q':1}
    def m_params(self): self.base()
    def g_params(self,n):
        c=self.charts['c']
        if n==2: c.params['title']='other'; c.params['priority']=7; c.refresh()
        if n==3: self.T('set',lambda:setattr(c,'title','attr')); c.params['units']='zz'; c.create()
        if n==4: c.dimensions[0].params['multiplier']=5; c.dimensions[0].params['name']='nn'; c.flags.push=True
        if n==5: c.dimensions[0].params['id']='w'; c.refresh()
    def m_direct(self): self.base()
    def g_direct(self,n):
        c=self.charts['c']
        self.T('can',lambda:(c.can_be_updated({'v':0}),c.can_be_updated({'v':None}),c.can_be_updated({}),c.can_be_updated(None)))
        self.T('gv',lambda:[c.dimensions[0].get_value(x) for x in ({'v':1.7},{'v':None},{'v':'5'},{},{'v':True})])
        self.T('gvb',lambda:c.dimensions[0].get_value({'v':'x'}))
        self.T('upd',lambda:c.update({'v':77},5)); self.T('upd2',lambda:c.update({},5))
    def m_name(self): self.base()
    def g_name(self,n):
        if n==2: self.fake_name='fk'; self.charts.add_chart(['d']+self.O).add_dimension(['v'])
        if n==3: self.module_name='mm'; self.fake_name=None; self.charts.add_chart(['e']+self.O).add_dimension(['v'])
        if n==4: self.override_name='ov'; self.charts.add_chart(['g']+self.O).add_dimension(['v'])
        self.T('n',lambda:(self.name,self.actual_name(),self.charts.job_name()))
    def m_iter(self): self.base([('v',),('w',),('x',)])
    def g_iter(self,n):
        if n==2:
            for d in self.charts['c']: self.charts['c'].del_dimension(d.id, hide=False)
    def m_dims(self): self.base([('v',),('w',)])
    def g_dims(self,n):
        c=self.charts['c']
        if n==2: self.T('rm',lambda:c.dimensions.remove('w')); self.T('pop',lambda:type(c.dimensions).__name__)
        if n==3: c.dimensions=[]
    def m_vars(self): self.base()
    def g_vars(self,n):
        c=self.charts['c']
        self.T('av',lambda:c.add_variable(['a',n])); self.T('av2',lambda:c.add_variable(['v'])); self.T('s',lambda:c.add_variable('q')); self.T('e',lambda:c.add_variable([])); self.T('vs',lambda:sorted((v.id,v.value) for v in c.variables)); self.T('t',lambda:type(c.variables).__name__)
        self.T('vin',lambda:('a' in c.variables)); self.T('gv',lambda:[v.get_value({'a':'5'}) for v in c.variables if v.id=='a'])
        return {'v':n,'a':100+n} if n==3 else None
    def m_set(self): self.base()
    def g_set(self, n): self._link = self._state = self._found = self._log = self._last_error = self._idle = self._create_chart = self.logger = n
    def m_ue(self): self.base()
